"""Every number of the forms' schemas, at both ends of its range, just beyond them, in its float32 image, huge and
not finite: a normal answer, or a 400 with the field's name; never a 500, never a 200 without an answer. Of JSON bodies
the numbers that were answered wrongly once.

The forms' numbers come from the service's own OpenAPI document, so that a new field is tested with no line here.
"""

import json
import math
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from tests.contract.numbers import MARK, Number, is_allowed, numbers, values
from tests.media.conftest import Make
from tests.security.neighbours import data_url, picture

MAKE = Make()
GREY = data_url(MAKE.grey16(np.full((16, 16), 900)))
SAMPLES = {
    **dict.fromkeys(("content", "text", "prompt", "input", "query", "text_1", "text_2", "context_text"), "Hi"),
    "messages": [{"role": "user", "content": "Hi"}],
    "documents": ["Hi"],
    "tokens": [1],
    "embedding": [0.5] * 8,
    "image_url.url": data_url(picture()),
    "depth_url.url": GREY,
    "thermal_url.url": GREY,
    "audio_url.url": data_url(MAKE.sound(MAKE.tone(0.2))),
    "input_audio.data": data_url(MAKE.sound(MAKE.tone(0.2))).partition(",")[2],
    "format": "wav",
    "video_url.url": data_url(MAKE.video(MAKE.grey_frames(4))),
    "imu_url.url": data_url(MAKE.npy(np.full((50, 6), 0.5))),
    "points_url.url": data_url(MAKE.npy(np.random.default_rng(0).normal(size=(8192, 3)))),
    "file": {"file_data": data_url(picture())},
    "function": {"name": "f"},
}
# A form's `user` may be any text, so that no number is beyond its range.
ANY_TEXT = ("/v1/generate", "user")


@pytest.fixture
def document(http: httpx.Client) -> Any:
    return http.get("/openapi.json").json()


def test_every_number_of_a_form_is_answered_or_refused_by_name(http: httpx.Client, document: Any) -> None:
    wrong, never = [], set()
    for number in numbers(document, SAMPLES):
        if number.media_type == "multipart/form-data":
            taken = []
            for value in dict.fromkeys(values(number.schema)):
                answer = _send(http, number, value)
                taken.append(answer.status_code == 200)
                if (flaw := _flaw(number, value, answer)) is not None:
                    wrong.append((number.operation, ".".join(number.path), value[:40], flaw, answer.text[:300]))
            if not any(taken):
                never.add((number.operation, number.name))
    assert not wrong, "\n".join(map(str, wrong))
    assert not never, never


STRENGTH = '{"messages": [{"role": "user", "content": "Hi"}], "options": {"strength": ' + "9" * 400 + "}}"
FOUND = [  # an endpoint, a body, the field that the refusal names
    ("/v1/chat/completions", STRENGTH, "options.strength"),
    ("/v1/responses", '{"input": "Hi", "max_output_tokens": 8193}', "max_output_tokens"),
    ("/v1/completions", '{"prompt": [2147483647]}', "prompt"),
    ("/detokenize", '{"tokens": [2147483647]}', "tokens"),
    ("/v1/embeddings", '{"input": [2147483647]}', "input"),
    ("/v1/score", '{"text_1": "Hi", "text_2": [{"type": "tokens", "tokens": [2147483647]}]}', "text_2[0]"),
]


@pytest.mark.parametrize(("path", "body", "field"), FOUND)
def test_a_number_that_only_the_model_can_judge_is_refused_by_name(
    http: httpx.Client, path: str, body: str, field: str
) -> None:
    answer = http.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert (answer.json()["error"]["param"] or "").startswith(field), answer.text


def test_a_vector_that_the_model_cannot_scale_fails_alone_and_the_worker_goes_on(http: httpx.Client) -> None:
    part = {"type": "embedding", "embedding": [0.0] * 8}
    assert http.post("/v1/embeddings", json={"input": [part]}).json()["error"]["code"] == "internal_error"
    assert http.post("/v1/embeddings", json={"input": "Hi"}).status_code == 200


def test_the_numbers_come_from_every_endpoint_that_takes_one(document: Any) -> None:
    found = {(number.operation, number.name) for number in numbers(document, SAMPLES)}
    assert {
        ("/v1/chat/completions", "weight"),
        ("/v1/chat/completions", "logit_bias"),
        ("/v1/chat/completions", "rate_hz"),
        ("/v1/completions", "prompt"),
        ("/v1/responses", "max_output_tokens"),
        ("/v1/embeddings", "dimensions"),
        ("/v1/rerank", "top_n"),
        ("/detokenize", "tokens"),
        ("/v1/generate", "temperature"),
        ("/v1/media/inspect", "depth_scale"),
        ("/v1/files", "expires_after[seconds]"),
    } <= found


def _send(client: httpx.Client, number: Number, value: str) -> httpx.Response:
    if number.media_type == "application/json":
        headers = {"content-type": "application/json"}
        return client.post(number.operation, content=number.json(value), headers=headers)
    fields = {name: _text(given).replace(MARK, value) for name, given in number.body.items() if name != "file"}
    file = "file" if number.operation == "/v1/files" else "image"
    return client.post(number.operation, data=fields, files={file: picture()})


def _text(given: Any) -> str:
    """A field of a form: text as it is, and JSON of all else, in which MARK stands without its quotes."""
    return given if isinstance(given, str) else json.dumps(given).replace(f'"{MARK}"', MARK)


def _flaw(number: Number, value: str, answer: httpx.Response) -> str | None:
    allowed = is_allowed(number.schema, value) or (number.operation, number.name) == ANY_TEXT
    if answer.status_code == 200:
        if not allowed:
            return "taken beyond its range"
        return None if _is_whole(answer.json()) else "an empty answer"
    if answer.status_code != 400:
        return f"status {answer.status_code}"
    error = answer.json()["error"]
    names = number.path[-2:] if allowed else number.path[-1:]
    said = f"{error['param']} {error['message']}"
    if not any(name.replace("[", ".").strip("]") in said for name in names):
        return "refused without its name"
    return None


def _is_whole(answer: Any) -> bool:
    """Whether all numbers are finite and the answer holds a text, a vector, a score or what else was asked for."""
    found = list(_numbers_in(answer))
    if not all(map(math.isfinite, found)):
        return False
    for key in ("choices", "output", "data", "results"):
        if key in answer:
            return bool(answer[key]) and (key != "choices" or answer["usage"]["completion_tokens"] > 0)
    return bool(answer)


def _numbers_in(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _numbers_in(one)
    elif isinstance(value, float | int):
        yield float(value)
