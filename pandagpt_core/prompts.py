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

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from pandagpt_core.errors import CheckpointError, InvalidRequest
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.types import Conversation, Turn


@dataclass(frozen=True, slots=True)
class Control:
    """A control token, by its piece name."""

    piece: str


class Slot(Enum):
    """The places of a template that are filled from outside."""

    BOS = "the token the tokenizer's files name as the beginning"
    SOFT = "rows of media: of the one medium in `Template.medium`, elsewhere of all media of the conversation"
    MEDIA = "`Template.medium` once for each medium of the turn"
    TEXT = "the turn's own text"


@dataclass(frozen=True, slots=True)
class MediaSlot:
    """A place in a prompt that the rows of some media fill; `media` are indices of `Conversation.media`."""

    media: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of text, and whether a caller wrote it (assistant turns of a history included)."""

    text: str
    caller: bool = False


Pattern = tuple[str | Control | Slot | Span, ...]
Part = Control | Slot | MediaSlot | Span
Segment = Control | Slot | MediaSlot | tuple[Span, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """How one family of models writes a conversation. Turns are joined by `separator`.

    A template has one of two ways with media. With `media`, which replaces `user` for the first human turn of a
    conversation that has media, all of them share the one slot. With `medium`, `user` has `Slot.MEDIA`, and each medium
    has a slot of its own in its own turn.

    Without a `system` pattern a system turn is put before the text of the human turn that follows it, a newline
    between. `default_system` is the system turn of a conversation that has none.

    `markers` matches control text that is plain text. A new turn begins, and so an answer ends, at one of `stop` or
    `stop_pieces`; `original_stop_pieces` is the published rule.
    """

    opening: Pattern
    user: Pattern
    assistant: Pattern
    cue: Pattern
    media: Pattern | None = None
    medium: Pattern | None = None
    separator: str = "\n"
    system: Pattern | None = None
    default_system: str | None = None
    markers: re.Pattern[str] | None = None
    stop: tuple[str, ...] = ()
    stop_pieces: tuple[str, ...] = ()
    original_stop_pieces: tuple[str, ...] = ()


_IM_START, _IM_END = Control("<|im_start|>"), Control("<|im_end|>")

TEMPLATES = MappingProxyType(
    {
        # PandaGPT (Su et al. 2023), trained from Vicuna v0. The original ends an answer at the token "##" anywhere,
        # so at any markdown heading; "\n###" is what the model learned to write at the end of a turn.
        "vicuna-v0": Template(
            opening=(Slot.BOS,),
            user=("### Human: ", Slot.TEXT),
            media=("### Human: <Img>", Slot.SOFT, "</Img> ", Slot.TEXT),
            assistant=("### Assistant: ", Slot.TEXT),
            cue=("### Assistant:",),
            markers=re.compile(r"#{3,}|</?Img>"),
            stop=("\n###", "\n\n###"),
            original_stop_pieces=("##",),
        ),
        # MiniGPT-v2 (Chen et al. 2023, section 3.1) over LLaMA-2-chat: two BOS ids, since its code puts the tokenizer's
        # before a text that begins with one. Earlier answers stay as `Chat.answer` keeps them, without an end.
        "minigpt-v2": Template(
            opening=(Slot.BOS,),
            user=(Control("<s>"), "[INST] ", Slot.MEDIA, Slot.TEXT, " [/INST]"),
            medium=("<Img>", Slot.SOFT, "</Img> "),
            assistant=(Slot.TEXT,),
            cue=(),
            separator="",
            markers=re.compile(r"\[/?INST\]|</?Img>|<ImageHere>"),
        ),
        # ImageBind-LLM (Han et al. 2023), trained on Alpaca's prompts; the original's demo has no second turn, which
        # is here a further instruction. Media stand in no place of the prompt. The original ends at EOS alone.
        "alpaca": Template(
            opening=(
                Slot.BOS,
                "Below is an instruction that describes a task. Write a response that appropriately completes the "
                "request.\n\n",
            ),
            user=("### Instruction:\n", Slot.TEXT),
            assistant=("### Response:", Slot.TEXT),
            cue=("### Response:",),
            separator="\n\n",
            markers=re.compile(r"#{3,}"),
            stop=("\n\n### Instruction:",),
        ),
        # SmolLM2-Instruct. The soft token stands where a picture would: before the question.
        "chatml": Template(
            opening=(),
            user=(_IM_START, "user\n", Slot.TEXT, _IM_END),
            media=(_IM_START, "user\n", Slot.SOFT, Slot.TEXT, _IM_END),
            assistant=(_IM_START, "assistant\n", Slot.TEXT, _IM_END),
            cue=(_IM_START, "assistant\n"),
            system=(_IM_START, "system\n", Slot.TEXT, _IM_END),
            default_system="You are a helpful AI assistant.",
            stop_pieces=(_IM_END.piece, _IM_START.piece, "<|endoftext|>"),
            original_stop_pieces=(_IM_END.piece,),
        ),
    }
)


def segments(template: Template, conversation: Conversation) -> list[Segment]:
    """The conversation in the template's words, ready for an answer; text between two tokens is one segment."""
    parts: list[Part] = list(_fill(template.opening, ""))
    for index, (pattern, text, media) in enumerate(_turns(template, conversation)):
        if index:
            parts.append(Span(template.separator))
        parts += _fill(pattern, text, media, template.medium)
    parts += [Span(template.separator), *_fill(template.cue, "")]
    return _joined([part for part in parts if part != Span("")])


def prompt_ids(
    template: Template, tokenizer: Tokenizer, conversation: Conversation, bos_id: int | None = None
) -> list[int | MediaSlot]:
    """The prompt as token ids and slots. `bos_id` overrules the tokenizer's own."""
    ids: list[int | MediaSlot] = []
    for segment in segments(template, conversation):
        if isinstance(segment, tuple):
            ids += _tokenise(tokenizer, segment, template.markers)
        elif isinstance(segment, Control):
            ids.append(control_id(tokenizer, segment.piece))
        elif isinstance(segment, MediaSlot):
            ids.append(segment)
        else:
            assert segment is Slot.BOS
            ids.append(_named("beginning", tokenizer.bos_id if bos_id is None else bos_id))
    return ids


def token_ids(
    template: Template, tokenizer: Tokenizer, conversation: Conversation, bos_id: int | None = None
) -> list[int | None]:
    """As `prompt_ids`, with None for each slot."""
    ids = prompt_ids(template, tokenizer, conversation, bos_id)
    return [None if isinstance(token, MediaSlot) else token for token in ids]


def control_id(tokenizer: Tokenizer, piece: str) -> int:
    """The id of a piece that a template names; CheckpointError where the tokenizer has none."""
    return _named(piece, tokenizer.token_id(piece))


def _named(what: str, token_id: int | None) -> int:
    if token_id is None:
        raise CheckpointError(f"the template needs the token {what!r}, which the tokenizer does not have")
    return token_id


def _turns(template: Template, conversation: Conversation) -> Iterator[tuple[Pattern, str, tuple[int, ...]]]:
    """Each turn's pattern, text and media, system turns put where the template wants them."""
    if not conversation.turns or conversation.turns[-1].role != "user":
        raise InvalidRequest("a conversation must end with a user turn", param="messages")
    pending: list[str] = []
    shared = tuple(range(len(conversation.media))) if template.media is not None else ()
    for index, turn in _with_system(template, conversation.turns):
        if turn.role == "assistant":
            yield template.assistant, turn.text, ()
        elif turn.role == "user":
            own = tuple(at for at, use in enumerate(conversation.media) if use.turn == index)
            pattern = template.media if shared and template.media is not None else template.user
            yield pattern, "\n".join([*pending, turn.text]), shared or own
            pending, shared = [], ()
        elif template.system is not None:
            yield template.system, turn.text, ()
        else:
            pending.append(turn.text)


def _with_system(template: Template, turns: Sequence[Turn]) -> list[tuple[int, Turn]]:
    """The turns with their indices; the default system turn, which the caller did not write, has index -1."""
    numbered = list(enumerate(turns))
    if template.default_system is None or any(turn.role == "system" for turn in turns):
        return numbered
    return [(-1, Turn("system", template.default_system)), *numbered]


def _fill(pattern: Pattern, text: str, media: tuple[int, ...] = (), medium: Pattern | None = None) -> Iterator[Part]:
    for item in pattern:
        if item is Slot.TEXT:
            yield Span(text, caller=True)
        elif item is Slot.SOFT:
            yield MediaSlot(media)
        elif item is Slot.MEDIA:
            assert medium is not None, "a template with Slot.MEDIA has a pattern for a medium"
            for index in media:
                yield from _fill(medium, "", (index,))
        else:
            yield Span(item) if isinstance(item, str) else item


def _joined(parts: Sequence[Part]) -> list[Segment]:
    joined: list[Segment] = []
    run: list[Span] = []
    for part in parts:
        if isinstance(part, Span):
            run.append(part)
            continue
        joined += [tuple(run), part] if run else [part]
        run = []
    return [*joined, tuple(run)] if run else joined


def _tokenise(tokenizer: Tokenizer, spans: Sequence[Span], markers: re.Pattern[str] | None) -> list[int]:
    """Spans as one piece of text, but for the markers in callers' spans: those one character at a time."""
    chunks = [""]  # even: ordinary text; odd: a marker written by a caller
    for span in spans:
        plain, *broken = _split(span, markers)
        chunks[-1] += plain
        chunks += broken
    ids = tokenizer.encode(chunks[0])
    for index, chunk in enumerate(chunks[1:], start=1):
        ids += _spelt(tokenizer, chunk) if index % 2 else _continued(tokenizer, chunk)
    return ids


def _split(span: Span, markers: re.Pattern[str] | None) -> list[str]:
    """Text, marker, text, ... with text first and last."""
    if markers is None or not span.caller:
        return [span.text]
    pieces, at = [], 0
    for match in markers.finditer(span.text):
        pieces += [span.text[at : match.start()], match.group()]
        at = match.end()
    return [*pieces, span.text[at:]]


def _spelt(tokenizer: Tokenizer, marker: str) -> list[int]:
    """Token ids of text, one character at a time."""
    by_character = {character: _continued(tokenizer, character) for character in set(marker)}
    return [token for character in marker for token in by_character[character]]


def _continued(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token ids of text that follows other text: without the space that sentencepiece puts before a piece.

    Sentencepiece never joins a newline with what follows it (it is a byte token), so a newline carries the space off.
    """
    if not text:
        return []
    lead = tokenizer.encode("\n")
    ids = tokenizer.encode("\n" + text)
    if ids[: len(lead)] != lead:
        raise CheckpointError("this tokenizer joins newlines with other text; the template needs one that does not")
    return ids[len(lead) :]
