"""Framing byte by byte, and the fold from the broker's events to chunks: pure, numbered, with one end."""

import json
from dataclasses import replace

import pytest

from pandagpt_core.types import Modality
from service.broker.protocol import Done, Event, Failed, Fence, Logprob, Released, Started, Token
from service.gateway.errors import GatewayError
from service.gateway.streaming.chunks import (
    KEEP_ALIVE,
    ChunkFold,
    FrameFold,
    ResponseMetadata,
    count_items,
    fingerprint_of,
    frame,
)
from service.gateway.streaming.response_events import ResponseChunkFold, response_frame
from service.gateway.streaming.whole import WholeFold
from tests.fakes import FAKE_INFO

ANSWER = ResponseMetadata(id="chatcmpl-1", model="m", created=5, fingerprint="fp_1")
EVENTS: list[Event] = [
    Started(prompt_tokens=3, cached_items=1, cached_tokens=2),
    Token(choice=0, token_id=1, text="Hel"),
    Token(choice=0, token_id=2, text=""),
    Token(choice=0, token_id=3, text="lo\n\ndata: x", finish="stop"),
    Done(completion_tokens=3),
]


def folded(events: list[Event], answer: ResponseMetadata = ANSWER, after: int = -1) -> bytes:
    fold = FrameFold(ChunkFold(answer), after)
    return fold.feed(events)


def chunks(events: list[Event], answer: ResponseMetadata = ANSWER) -> list[object]:
    """Chunks as objects; the end as its word."""
    fold = ChunkFold(answer)
    found = [chunk for event in events for chunk in fold.feed(event)]
    return [json.loads(chunk) if chunk.startswith(b"{") else chunk.decode() for chunk in found]


def test_a_frame_is_an_id_one_line_of_data_and_an_empty_line() -> None:
    assert frame(0, b"[DONE]") == b"id: 0\ndata: [DONE]\n\n"
    assert frame(12, b'{"a":1}') == b'id: 12\ndata: {"a":1}\n\n'
    assert KEEP_ALIVE == b": keep-alive\n"


def test_a_whole_stream_byte_by_byte() -> None:
    def chunk(number: int, delta: str, finish: str = "null") -> bytes:
        return (
            f'id: {number}\ndata: {{"id":"chatcmpl-1","object":"chat.completion.chunk","created":5,"model":"m",'
            f'"system_fingerprint":"fp_1",'
            f'"choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]}}\n\n'
        ).encode()

    assert folded(EVENTS) == b"".join(
        [
            chunk(0, '{"role":"assistant","content":""}'),
            chunk(1, '{"content":"Hel"}'),
            chunk(2, '{"content":"lo\\n\\ndata: x"}'),
            chunk(3, "{}", '"stop"'),
            b"id: 4\ndata: [DONE]\n\n",
        ]
    )


def test_no_text_breaks_a_line_or_its_json() -> None:
    said = 'x\ny\r\n\ndata: [DONE]\n\n\u2028\x00"\\ \N{PANDA FACE}'
    text = folded([Started(prompt_tokens=1), Token(choice=0, token_id=1, text=said)])
    _, (number, data), rest = [part.split(b"\n", 1) for part in text.split(b"\n\n")[:-1]] + [b""]
    assert (number, rest, text.count(b"\r")) == (b"id: 1", b"", 0)
    assert json.loads(data.removeprefix(b"data: "))["choices"][0]["delta"] == {"content": said}


def test_events_that_come_together_give_the_bytes_that_they_give_one_by_one() -> None:
    for answer in (ANSWER, ResponseMetadata(id="i", model='m"x', created=5, n=2, include_usage=True)):
        one_by_one = FrameFold(ChunkFold(answer))
        assert folded(EVENTS, answer) == b"".join(one_by_one.feed([event]) for event in EVENTS)


def test_every_place_to_resume_gives_the_rest_of_the_same_stream() -> None:
    whole = folded(EVENTS)
    frames = [part + b"\n\n" for part in whole.split(b"\n\n")[:-1]]
    for after in range(-1, len(frames)):
        assert folded(EVENTS, after=after) == b"".join(frames[after + 1 :])


@pytest.mark.parametrize("after", [5, 50])
def test_a_reader_of_a_stream_that_the_store_lost_gets_the_end_of_what_is_left(after: int) -> None:
    """The end of a request of which nothing is left has low numbers, and its reader has higher ones."""
    lost: list[Event] = [Failed(code="store_unavailable", message="the store no longer has the request")]
    assert b"store_unavailable" in folded(lost, after=after)
    assert folded(lost, after=after).endswith(b"data: [DONE]\n\n")
    assert b"response.failed" in FrameFold(ResponseChunkFold(ANSWER), after, response_frame).feed(lost)
    assert folded(EVENTS, after=4) == b"", "a reader that has all gets nothing twice"


def test_usage_comes_last_where_it_was_asked_for() -> None:
    answer = ResponseMetadata(id="i", model="m", created=5, include_usage=True, items={"image": 2})
    *before, usage, done = chunks(EVENTS, answer)
    assert done == "[DONE]"
    assert all(chunk["usage"] is None for chunk in before)
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 6
    details = usage["usage"]["prompt_tokens_details"]
    assert details == {
        "cached_tokens": 2,
        "image_items": 2,
        "video_items": 0,
        "audio_items": 0,
        "depth_items": 0,
        "thermal_items": 0,
        "imu_items": 0,
        "points_items": 0,
        "text_items": 0,
        "cached_items": 1,
    }


def test_a_failure_is_an_error_event_and_the_end() -> None:
    error, done = chunks([Failed(code="worker_lost", message="gone")])
    assert error == {"error": {"message": "gone", "type": "server_error", "param": None, "code": "worker_lost"}}
    assert done == "[DONE]"


def test_there_is_exactly_one_end_whatever_follows() -> None:
    assert folded([*EVENTS, Done(), Failed(code="x", message="y"), *EVENTS]) == folded(EVENTS)


def test_attempts_changing_hands_do_not_show() -> None:
    handed = [Fence(worker="a"), EVENTS[0], EVENTS[1], Released(), Fence(worker="b"), Started(prompt_tokens=9)]
    assert folded([*handed, *EVENTS[2:]]) == folded(EVENTS)


def test_a_cancelled_request_ends_its_open_choices_as_aborted() -> None:
    answer = ResponseMetadata(id="i", model="m", created=5, n=2)
    events = [*EVENTS[:2], Token(choice=1, token_id=1, text="x", finish="length"), Done(cancelled=True)]
    *_, last, done = chunks(events, answer)
    assert done == "[DONE]"
    assert (last["choices"][0]["index"], last["choices"][0]["finish_reason"]) == (0, "abort")
    whole = WholeFold(answer)
    results = [whole.feed(event) for event in events]
    assert [choice["finish_reason"] for choice in results[-1]["choices"]] == ["abort", "length"]


def test_log_probabilities_are_in_openais_shape() -> None:
    logprob = Logprob(token_id=1, piece="é".encode(), logprob=-0.5, top=[(1, "é".encode(), -0.5), (2, b"e", -1.0)])
    events: list[Event] = [Started(prompt_tokens=1), Token(choice=0, token_id=1, text="", logprob=logprob)]
    chunk = chunks(events, ResponseMetadata(id="i", model="m", created=5, logprobs=True))[-1]
    content = chunk["choices"][0]["logprobs"]["content"]
    assert content[0]["bytes"] == [0xC3, 0xA9]
    assert [top["token"] for top in content[0]["top_logprobs"]] == ["é", "e"]
    json.dumps(chunk)


def test_the_whole_answer_joins_what_the_stream_brings() -> None:
    fold = WholeFold(ANSWER)
    *_, whole = [fold.feed(event) for event in EVENTS]
    assert whole["choices"][0]["message"]["content"] == "Hello\n\ndata: x"
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert whole["usage"]["completion_tokens"] == 3


def test_a_failure_of_a_whole_answer_is_raised_with_its_code() -> None:
    with pytest.raises(GatewayError) as caught:
        WholeFold(ANSWER).feed(Failed(code="context_length_exceeded", message="long", param="messages"))
    assert (caught.value.code, caught.value.row.status, caught.value.param) == (
        "context_length_exceeded",
        400,
        "messages",
    )


def test_the_fingerprint_changes_with_the_model_and_not_with_the_request() -> None:
    first = fingerprint_of(FAKE_INFO)
    assert first == fingerprint_of(replace(FAKE_INFO))
    changed = [replace(FAKE_INFO, **{name: "other"}) for name in ("id", "version", "encoder_digest", "system")]
    assert len({first, *map(fingerprint_of, changed)}) == 5


def test_items_are_counted_by_modality() -> None:
    assert count_items([Modality.IMAGE, Modality.TEXT, Modality.IMAGE]) == {"image": 2, "text": 1}
