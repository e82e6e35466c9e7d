"""A prompt as one string, to be compared with what a template should give."""

from pandagpt_core.prompts import TEMPLATES, Control, MediaSlot, Template, segments
from pandagpt_core.types import Conversation

VICUNA, CHATML = TEMPLATES["vicuna-v0"], TEMPLATES["chatml"]


def written(template: Template, conversation: Conversation) -> str:
    """The prompt as one string, control pieces by name, the slots as <BOS> and <SOFT>."""
    shown = []
    for segment in segments(template, conversation):
        if isinstance(segment, tuple):
            shown += [span.text for span in segment]
        else:
            slot = "<SOFT>" if isinstance(segment, MediaSlot) else "<BOS>"
            shown.append(segment.piece if isinstance(segment, Control) else slot)
    return "".join(shown)
