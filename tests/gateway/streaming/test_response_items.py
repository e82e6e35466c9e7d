"""The output of a response, item by item."""

import pytest

from pandagpt_core.types import ToolCall
from service.broker.protocol import Logprob, Token
from service.gateway.streaming.chunks import ResponseMetadata
from service.gateway.streaming.response_items import Begun, Ended, Grew, MessageItem, OutputItems, answer_turn
from tests.scripted import call

TEXT = f"I look.\n{call('now', {})}\n{call('f', {'a': '<b>'})}"
ANSWER = ResponseMetadata(id="resp-1", model="m", created=0, kind="response", logprobs=True, calls="tool_calls")


def items_of(text: str, piece: int, answer: ResponseMetadata = ANSWER) -> tuple[OutputItems, list[object]]:
    output, steps = OutputItems(answer), []
    for at in range(0, len(text), piece):
        part = text[at : at + piece]
        token = Token(choice=0, token_id=1, text=part, logprob=Logprob(token_id=1, piece=part.encode(), logprob=-1.0))
        steps += output.feed(token)
    return output, [*steps, *output.finish()]


@pytest.mark.parametrize("piece", [1, 3, 7, 1000])
def test_items_are_the_same_however_the_text_is_cut(piece: int) -> None:
    output, steps = items_of(TEXT, piece)
    assert [item.text for item in output.items] == ["I look.", "{}", '{"a": "<b>"}']
    begun = [step.index for step in steps if isinstance(step, Begun)]
    ended = [step.index for step in steps if isinstance(step, Ended)]
    assert begun == ended == [0, 1, 2]
    grown = ["".join(step.text for step in steps if isinstance(step, Grew) and step.index == n) for n in range(3)]
    assert grown == [item.text for item in output.items]


def test_scores_stand_beside_the_text_that_they_are_of() -> None:
    said = "Yes <b> no"  # "<" may begin a call: it is held back, and its score with it
    output, steps = items_of(said, 1)
    (item,) = output.items
    assert isinstance(item, MessageItem)
    assert bytes(byte for score in item.logprobs for byte in score["bytes"]).decode() == said
    sent = [score for step in steps if isinstance(step, Grew) for score in step.scores]
    assert sent == item.logprobs


def test_text_that_only_looks_like_a_call_is_whole_at_the_end() -> None:
    output, _ = items_of("a <tool_c", 1)
    assert [item.text for item in output.items] == ["a <tool_c"]


def test_an_answer_is_a_turn_with_its_text_and_calls() -> None:
    turn = answer_turn(ANSWER, TEXT)
    assert (turn.role, turn.text) == ("assistant", "I look.")
    assert turn.tool_calls == (ToolCall("now", "{}"), ToolCall("f", '{"a": "<b>"}'))
    plain = ResponseMetadata(id="resp-1", model="m", created=0, kind="response")
    assert answer_turn(plain, TEXT).text == TEXT
