"""Template of a family of models for a conversation, as data: patterns of text, control tokens and slots."""

import re
from dataclasses import dataclass
from enum import Enum

from pandagpt_core.tools import ToolFormat


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
TurnSpans = tuple[Span, ...]  # of one turn
PatternPart = Control | Slot | MediaSlot | Span
Segment = Control | Slot | MediaSlot | tuple[Span, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """Form of a conversation for one family of models. `separator` stands between turns.

    A template has one of two ways with media. With `media`, which replaces `user` for the first human turn of a
    conversation that has media, all of them share the one slot. With `medium`, `user` has `Slot.MEDIA`, and each medium
    has a slot of its own in its own turn.

    Without a `system` pattern a system turn is put before the text of the human turn that follows it, a newline
    between. `default_system` is the system turn of a conversation that has none.

    `tools` is how a model that calls functions by itself learned to read them; None for one that did not. A tool's
    result is a human turn.

    `lead` stands behind `cue`, and not before an answer of the history: the closed thoughts of a model that may think.

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
    lead: Pattern = ()
    system: Pattern | None = None
    default_system: str | None = None
    tools: ToolFormat | None = None
    markers: re.Pattern[str] | None = None
    stop: tuple[str, ...] = ()
    stop_pieces: tuple[str, ...] = ()
    original_stop_pieces: tuple[str, ...] = ()
