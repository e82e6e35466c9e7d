"""Ollama's lines: failures, hand-overs, calls that were cut off, and the text of a prompt continued as it stands."""

import json

from service.broker.protocol import Done, Failed, Started, Token
from service.gateway.errors import GatewayError
from service.gateway.streaming.chunks import ResponseMetadata
from service.gateway.streaming.ollama_lines import CHAT, GENERATE, OllamaFold, OllamaLines
from tests.scripted import call


def lines(kind: str, *events: object, calls: str | None = None) -> list[dict]:
    fold = OllamaLines(OllamaFold(ResponseMetadata(id="chatcmpl-1", model="m", created=100, kind=kind, calls=calls)))
    told = fold.feed(events)
    assert fold.ended == isinstance(events[-1], Done | Failed)
    return [json.loads(one) for one in told.splitlines()]


def token(text: str, finish: str | None = None) -> Token:
    return Token(choice=0, token_id=1, text=text, finish=finish)


def test_the_closing_line_has_counts_and_times_of_the_events() -> None:
    events = (
        Started(at=101.0, prompt_tokens=3),
        token("a"),
        token("b", "length"),
        Done(at=104.0, first_token_at=102.0, completion_tokens=2),
    )
    *pieces, last = lines(GENERATE, *events)
    assert [one["response"] for one in pieces] == ["a", "b"]
    assert (last["done_reason"], last["prompt_eval_count"], last["eval_count"]) == ("length", 3, 2)
    assert [last[f"{name}_duration"] for name in ("total", "prompt_eval", "eval")] == [4 * 10**9, 10**9, 2 * 10**9]
    assert last["created_at"] == "1970-01-01T00:01:40Z"


def test_a_failure_is_a_line_with_its_text() -> None:
    assert lines(CHAT, Failed(code="worker_lost", message="the worker died"))[-1] == {"error": "the worker died"}
    fold = OllamaLines(OllamaFold(ResponseMetadata(id="chatcmpl-1", model="m", created=100, kind=CHAT)))
    assert json.loads(fold.closing(GatewayError("draining", "going away"))) == {"error": "going away"}


def test_a_call_that_was_cut_off_is_left_out() -> None:
    whole = call("f", {"a": 1})
    cut = lines(CHAT, Started(prompt_tokens=1), token(whole[: whole.index("1")], "length"), Done(), calls="tool_calls")
    assert [one["done"] for one in cut] == [True]
    kept = lines(CHAT, Started(prompt_tokens=1), token(whole, "stop"), Done(), calls="tool_calls")
    assert kept[0]["message"]["tool_calls"] == [{"function": {"name": "f", "arguments": {"a": 1}}}]


def test_space_between_lines_is_no_line() -> None:
    fold = OllamaLines(OllamaFold(ResponseMetadata(id="chatcmpl-1", model="m", created=100, kind=CHAT)))
    told = fold.feed([Started(prompt_tokens=1), token("a")]) + fold.keep_alive + fold.feed([Done()])
    assert [json.loads(one)["done"] for one in told.splitlines()] == [False, True]
