"""A conversation in a template's words: its turns, tools and media put where the template wants them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.prompts.template import MediaSlot, Pattern, PatternPart, Segment, Slot, Span, Template, TurnSpans
from pandagpt_core.tools import CALL_CLOSE, CALL_OPEN, PLAIN, ToolFormat, call_texts
from pandagpt_core.types import Conversation, Role, ToolCall, Turn


def segments(template: Template, conversation: Conversation) -> list[Segment]:
    """The conversation in the template's words, ready for an answer; text between two tokens is one segment."""
    parts: list[PatternPart] = list(_fill(template.opening))
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


def _turns(template: Template, conversation: Conversation) -> Iterator[tuple[Pattern, TurnSpans, tuple[int, ...]]]:
    """Each turn's pattern, text and media, system turns put where the template wants them."""
    pending: TurnSpans = ()
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
    text: TurnSpans
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


def _with_calls(text: str, calls: Sequence[ToolCall]) -> TurnSpans:
    written: TurnSpans = (Span(text, caller=True),)
    for call in call_texts(calls):
        lead = "\n" if text or len(written) > 1 else ""
        written += (Span(f"{lead}{CALL_OPEN}\n"), Span(call, caller=True), Span(f"\n{CALL_CLOSE}"))
    return written


def _result(form: ToolFormat, turn: Turn) -> TurnSpans:
    before, after = form.result
    return Span(before), Span(turn.text, caller=True), Span(after)


def _media_of(conversation: Conversation, places: Sequence[int]) -> tuple[int, ...]:
    return tuple(at for at, use in enumerate(conversation.media) if use.turn in places)


def _unended(
    turn: Turn, pattern: Pattern, text: TurnSpans, media: tuple[int, ...]
) -> tuple[Pattern, TurnSpans, tuple[int, ...]]:
    """The conversation's last turn without its end, for an answer that goes on with it."""
    if turn.role != "assistant" or turn.tool_calls:
        raise InvalidRequest("only a text of the assistant's can be continued", param="messages")
    return pattern[: pattern.index(Slot.TEXT) + 1], text, media


def _fill(
    pattern: Pattern, text: TurnSpans = (), media: tuple[int, ...] = (), medium: Pattern | None = None
) -> Iterator[PatternPart]:
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


def _joined(parts: Sequence[PatternPart]) -> list[Segment]:
    joined: list[Segment] = []
    run: list[Span] = []
    for part in parts:
        if isinstance(part, Span):
            run.append(part)
            continue
        joined += [tuple(run), part] if run else [part]
        run = []
    return [*joined, tuple(run)] if run else joined
