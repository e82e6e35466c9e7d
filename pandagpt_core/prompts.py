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
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType

from pandagpt_core.errors import CheckpointError, InvalidRequest
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.tools import CALL_CLOSE, CALL_OPEN, HERMES, PLAIN, ToolFormat, call_texts
from pandagpt_core.types import Conversation, Role, ToolCall, Turn


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
Text = tuple[Span, ...]  # of one turn
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


_IM_START, _IM_END = Control("<|im_start|>"), Control("<|im_end|>")
_HEADER, _HEADER_END, _EOT = Control("<|start_header_id|>"), Control("<|end_header_id|>"), Control("<|eot_id|>")

# SmolLM2-Instruct. The soft token stands where a picture would: before the question.
_CHATML = Template(
    opening=(),
    user=(_IM_START, "user\n", Slot.TEXT, _IM_END),
    media=(_IM_START, "user\n", Slot.SOFT, Slot.TEXT, _IM_END),
    assistant=(_IM_START, "assistant\n", Slot.TEXT, _IM_END),
    cue=(_IM_START, "assistant\n"),
    system=(_IM_START, "system\n", Slot.TEXT, _IM_END),
    default_system="You are a helpful AI assistant.",
    tools=HERMES,
    markers=re.compile(r"</?tools>|</?tool_(?:call|response)>"),
    stop_pieces=(_IM_END.piece, _IM_START.piece, "<|endoftext|>"),
    original_stop_pieces=(_IM_END.piece,),
)

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
        "chatml": _CHATML,
        # Qwen2.5-Instruct (Qwen Team 2024): ChatML with a system turn of its own.
        "qwen2.5": replace(
            _CHATML, default_system="You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
        ),
        # Qwen3 (Yang et al. 2025), its way without thinking: the thoughts before an answer are opened and closed.
        "qwen3": replace(
            _CHATML,
            default_system=None,
            lead=(Control("<think>"), "\n\n", Control("</think>"), "\n\n"),
            markers=re.compile(r"</?think>|</?tools>|</?tool_(?:call|response)>"),
        ),
        # Llama 3 (Grattafiori et al. 2024). That of 3.1 and later writes dates into a system turn, which are left out.
        "llama3": Template(
            opening=(Slot.BOS,),
            user=(_HEADER, "user", _HEADER_END, "\n\n", Slot.TEXT, _EOT),
            media=(_HEADER, "user", _HEADER_END, "\n\n", Slot.SOFT, Slot.TEXT, _EOT),
            assistant=(_HEADER, "assistant", _HEADER_END, "\n\n", Slot.TEXT, _EOT),
            cue=(_HEADER, "assistant", _HEADER_END, "\n\n"),
            separator="",
            system=(_HEADER, "system", _HEADER_END, "\n\n", Slot.TEXT, _EOT),
            stop_pieces=(_EOT.piece, _HEADER.piece, "<|end_of_text|>"),
            original_stop_pieces=(_EOT.piece,),
        ),
        # MiniGPT-v2's way with pictures, a slot for each in its own turn, over SmolLM2-Instruct.
        "chatml-rows": Template(
            opening=(),
            user=(_IM_START, "user\n", Slot.MEDIA, Slot.TEXT, _IM_END),
            medium=(Slot.SOFT,),
            assistant=(_IM_START, "assistant\n", Slot.TEXT, _IM_END),
            cue=(_IM_START, "assistant\n"),
            system=(_IM_START, "system\n", Slot.TEXT, _IM_END),
            stop_pieces=(_IM_END.piece, _IM_START.piece, "<|endoftext|>"),
            original_stop_pieces=(_IM_END.piece,),
        ),
    }
)


def segments(template: Template, conversation: Conversation) -> list[Segment]:
    """The conversation in the template's words, ready for an answer; text between two tokens is one segment."""
    parts: list[Part] = list(_fill(template.opening))
    turns = list(_turns(template, conversation))
    if conversation.continue_final:
        turns[-1] = _unended(conversation.turns[-1], *turns[-1])
    for index, (pattern, text, media) in enumerate(turns):
        if index:
            parts.append(Span(template.separator))
        parts += _fill(pattern, text, media, template.medium)
    if not conversation.continue_final:
        parts += [Span(template.separator), *_fill(template.cue), *_fill(template.lead)]
    return _joined([part for part in parts if part not in (Span(""), Span("", caller=True))])


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


def _turns(template: Template, conversation: Conversation) -> Iterator[tuple[Pattern, Text, tuple[int, ...]]]:
    """Each turn's pattern, text and media, system turns put where the template wants them."""
    pending: Text = ()
    shared = tuple(range(len(conversation.media))) if template.media is not None else ()
    for turn in _written(template, conversation):
        if turn.role == "assistant":
            yield template.assistant, turn.text, ()
        elif turn.role == "system" and template.system is not None:
            yield template.system, turn.text, ()
        elif turn.role == "system":
            pending += (*turn.text, Span("\n"))
        else:
            pattern = template.media if shared and template.media is not None else template.user
            yield pattern, (*pending, *turn.text), shared or _media_of(conversation, turn.places)
            pending, shared = (), ()
    if pending:  # a system turn that nothing follows is a human turn of its own
        yield (template.media if shared and template.media is not None else template.user), pending[:-1], shared
    elif shared:
        raise InvalidRequest("media must be in a user's turn", param="messages")


@dataclass(frozen=True, slots=True)
class _Written:
    """A turn with its tools in the template's words. `places`: which turns of the conversation it holds."""

    role: Role
    text: Text
    places: tuple[int, ...] = ()


def _written(template: Template, conversation: Conversation) -> list[_Written]:
    """The turns, the default system turn and the definitions of tools among them; results that follow one another are
    one turn."""
    if not conversation.turns:
        raise InvalidRequest("a conversation has at least one turn", param="messages")
    form = template.tools or PLAIN
    turns: list[_Written] = []
    last: Role | None = None
    for index, turn in enumerate(conversation.turns):
        if turn.role == last == "tool":
            before = turns.pop()
            turns.append(_Written("user", (*before.text, Span("\n"), *_result(form, turn)), (*before.places, index)))
        elif turn.role == "tool":
            turns.append(_Written("user", _result(form, turn), (index,)))
        else:
            turns.append(_Written(turn.role, _with_calls(turn.text, turn.tool_calls), (index,)))
        last = turn.role
    if template.default_system is not None and all(turn.role != "system" for turn in turns):
        turns.insert(0, _Written("system", (Span(template.default_system, caller=True),)))
    return _with_tools(turns, form, conversation.tools) if conversation.tools else turns


def _with_tools(turns: list[_Written], form: ToolFormat, tools: Sequence[str]) -> list[_Written]:
    """The definitions at the end of the first turn where it is a system turn, else in one of their own."""
    before, after = form.definitions
    lines = [part for tool in tools for part in (Span("\n"), Span(tool, caller=True))][1:]
    defined = (Span(before), *lines, Span(after))
    if turns[0].role != "system":
        return [_Written("system", defined), *turns]
    return [_Written("system", (*turns[0].text, Span("\n\n"), *defined), turns[0].places), *turns[1:]]


def _with_calls(text: str, calls: Sequence[ToolCall]) -> Text:
    written: Text = (Span(text, caller=True),)
    for call in call_texts(calls):
        lead = "\n" if text or len(written) > 1 else ""
        written += (Span(f"{lead}{CALL_OPEN}\n"), Span(call, caller=True), Span(f"\n{CALL_CLOSE}"))
    return written


def _result(form: ToolFormat, turn: Turn) -> Text:
    before, after = form.result
    return Span(before), Span(turn.text, caller=True), Span(after)


def _media_of(conversation: Conversation, places: Sequence[int]) -> tuple[int, ...]:
    return tuple(at for at, use in enumerate(conversation.media) if use.turn in places)


def _unended(turn: Turn, pattern: Pattern, text: Text, media: tuple[int, ...]) -> tuple[Pattern, Text, tuple[int, ...]]:
    """The conversation's last turn without its end, for an answer that goes on with it."""
    if turn.role != "assistant" or turn.tool_calls:
        raise InvalidRequest("only a text of the assistant's can be continued", param="messages")
    return pattern[: pattern.index(Slot.TEXT) + 1], text, media


def _fill(
    pattern: Pattern, text: Text = (), media: tuple[int, ...] = (), medium: Pattern | None = None
) -> Iterator[Part]:
    for item in pattern:
        if item is Slot.TEXT:
            yield from text
        elif item is Slot.SOFT:
            yield MediaSlot(media)
        elif item is Slot.MEDIA:
            assert medium is not None, "a template with Slot.MEDIA has a pattern for a medium"
            for index in media:
                yield from _fill(medium, (), (index,))
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
    if len(chunks) > 1:
        spaced = _puts_space(tokenizer)
        for index, chunk in enumerate(chunks[1:], start=1):
            ids += _spelt(tokenizer, chunk, spaced) if index % 2 else _continued(tokenizer, chunk, spaced)
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


def _spelt(tokenizer: Tokenizer, marker: str, spaced: bool) -> list[int]:
    """Token ids of text, one character at a time."""
    by_character = {character: _continued(tokenizer, character, spaced) for character in set(marker)}
    return [token for character in marker for token in by_character[character]]


def _continued(tokenizer: Tokenizer, text: str, spaced: bool) -> list[int]:
    """Token ids of text that follows other text: without the space that sentencepiece puts before a piece.

    Sentencepiece never joins a newline with what follows it (it is a byte token), so a newline carries the space off.
    """
    if not text or not spaced:
        return tokenizer.encode(text)
    lead = tokenizer.encode("\n")
    ids = tokenizer.encode("\n" + text)
    if ids[: len(lead)] != lead:
        raise CheckpointError("this tokenizer joins newlines with other text; the template needs one that does not")
    return ids[len(lead) :]


def _puts_space(tokenizer: Tokenizer) -> bool:
    """Whether a text's first piece has a space that the text has not. Byte-level tokenizers put none."""
    return any(tokenizer.token_bytes(token).startswith(b" ") for token in tokenizer.encode("x")[:1])
