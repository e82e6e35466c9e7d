"""Prompts: templates as data, and the one way from a conversation to token ids with slots for soft tokens.

A prompt is a list of segments: a control token (by piece name), a slot for media, or text. A slot names the media whose
rows fill it, so a prompt has any number of slots, in any turn, each as wide as its rows (`systems.prompting.fill`).
Only a template writes control tokens and slots; a caller's words are always text. Neighbouring text, the template's and
the callers', is tokenised as one piece, as the originals do (PandaGPT `web_demo.py`: the whole history is one string).

Two guards keep caller text from acting as control text:
- `Tokenizer.encode` never yields a control token, so "</s>" or "<|im_start|>" in a message is a few ordinary tokens;
- where a template's control text is itself plain text ("### Human: <Img>"), its markers are spelt out character by
  character when a caller writes them: "#", "#", "#" instead of "##", "#" or "▁###". The text the model reads is
  literally the caller's; the token sequence that opens a turn is the template's alone. Text without a marker is
  tokenised exactly as in the original.
"""

from pandagpt_core.prompts.families import TEMPLATES
from pandagpt_core.prompts.segments import segments
from pandagpt_core.prompts.template import Control, MediaSlot, Slot, Span, Template
from pandagpt_core.prompts.tokens import control_id, prompt_ids, token_ids

__all__ = [
    "TEMPLATES",
    "Control",
    "MediaSlot",
    "Slot",
    "Span",
    "Template",
    "control_id",
    "prompt_ids",
    "segments",
    "token_ids",
]
