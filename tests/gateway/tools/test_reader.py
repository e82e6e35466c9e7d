"""Calls read out of an answer: the same whatever its pieces, and text that is no call stays text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandagpt_core.tools import call_texts
from pandagpt_core.types import ToolCall
from service.gateway.tools.messages import call_id, message_of
from service.gateway.tools.reader import ArgumentsDelta, CallBegun, TextDelta, ToolCallReader, ToolDelta

ADD = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": "}</tool_call>\\""}}\n</tool_call>'
NOW = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
TEXTS = [
    "Hello, world.",
    "a < b and <tool",
    ADD,
    f"{ADD}\n{NOW}",
    f"Let me see.\n\n{NOW}",
    f"  {NOW}  \n",
    "<tool_call>\nI would call",
    "<tool_call>no call</tool_call> it is",
    '<tool_call>{"arguments": {"a": 2}, "name": "add"}</tool_call>',
    '<tool_call>\n{"name": "add", "arguments": {"a": 1',
    '<tool_call>\n{"na',
    "",
]


def read(pieces: list[str]) -> list[ToolDelta]:
    reader = ToolCallReader()
    return [delta for piece in pieces for delta in reader.feed(piece)] + reader.finish()


def summed(deltas: list[ToolDelta]) -> tuple[str, list[tuple[str, str]]]:
    """The text, and each call's name and arguments; a call's deltas follow its beginning."""
    text, calls = "", list[tuple[str, str]]()
    for delta in deltas:
        match delta:
            case TextDelta():
                text += delta.text
            case CallBegun():
                assert delta.index == len(calls)
                calls.append((delta.name, ""))
            case ArgumentsDelta():
                name, before = calls[delta.index]
                calls[delta.index] = (name, before + delta.text)
    return text, calls


@pytest.mark.parametrize("text", TEXTS)
@given(data=st.data())
def test_the_pieces_do_not_matter(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert summed(read(pieces)) == summed(read([text]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TEXTS[0], (TEXTS[0], [])),
        (TEXTS[1], (TEXTS[1], [])),
        (TEXTS[2], ("", [("add", '{"a": 1, "b": "}</tool_call>\\""}')])),
        (TEXTS[3], ("", [("add", '{"a": 1, "b": "}</tool_call>\\""}'), ("now", "{}")])),
        (TEXTS[4], ("Let me see.", [("now", "{}")])),
        (TEXTS[5], ("", [("now", "{}")])),
        (TEXTS[6], (TEXTS[6], [])),
        (TEXTS[7], (TEXTS[7], [])),
        (TEXTS[8], ("", [("add", '{"a": 2}')])),
        (TEXTS[9], ("", [("add", '{"a": 1')])),
        (TEXTS[10], (TEXTS[10], [])),
        ("", ("", [])),
    ],
)
def test_an_answer_is_its_text_and_its_calls(text: str, expected: object) -> None:
    assert summed(read([text])) == expected


def test_text_that_is_no_call_keeps_its_white_space() -> None:
    assert summed(read(["a\n", "\n  b ", "c"])) == ("a\n\n  b c", [])


@given(st.text(min_size=1, max_size=20), st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=3))
def test_what_a_prompt_writes_is_read_again(name: str, arguments: dict[str, str]) -> None:
    said = json.dumps(arguments)
    body = call_texts([ToolCall(name, said)])[0]
    assert summed(read([f"<tool_call>\n{body}\n</tool_call>"])) == ("", [(name, said)])


def test_a_name_is_known_before_its_arguments_are_whole() -> None:
    reader, at = ToolCallReader(), ADD.index('{"a"')
    assert reader.feed(ADD[: at + 1]) == [CallBegun(0, "add"), ArgumentsDelta(0, "{")]
    assert reader.feed(ADD[at + 1 : at + 9]) == [ArgumentsDelta(0, ADD[at + 1 : at + 9])]


def test_a_whole_message_has_null_content_where_there_are_calls_alone() -> None:
    call = {"name": "now", "arguments": "{}"}
    assert message_of("function_call", "x", 0, NOW) == {"content": None, "function_call": call}
    listed = [{"id": call_id("x", 0, 0), "type": "function", "function": call}]
    assert message_of("tool_calls", "x", 0, f"Hm. {NOW}") == {"content": "Hm.", "tool_calls": listed}
    assert message_of("tool_calls", "x", 0, "Hm.") == {"content": "Hm."}
