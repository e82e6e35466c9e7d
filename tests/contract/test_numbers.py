"""Every number of the schemas of forms and JSON bodies, at both ends of its range, just beyond them, in its float32
image, huge and not finite: a normal answer, or a 400 with the field's name; never a 500, never a 200 without an answer.

The numbers come from the service's own OpenAPI document, so that a new field is tested with no line here.
"""

import base64
import json
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from pandagpt_core.interface import Admitted, SequenceRequest
from pandagpt_core.types import OptionSpec
from tests.contract.numbers import MARK, Number, numbers
from tests.contract.scripted import scripted_gateway
from tests.fakes import FAKE_INFO, FakeRuntime
from tests.media.conftest import Make
from tests.security.neighbours import data_url, picture

MAKE = Make()
GREY = data_url(MAKE.grey16(np.full((16, 16), 900)))
DEEP = data_url(MAKE.grey16(np.full((16, 16), 60_000)))  # 0.12 m by the greatest scale
SOUND = data_url(MAKE.sound(MAKE.tone(0.2)))
FILM = data_url(MAKE.video(MAKE.grey_frames(4)))
MOTION = data_url(MAKE.npy(np.full((50, 6), 0.5)))
POINTS = data_url(MAKE.npy(np.random.default_rng(0).normal(size=(8192, 3))))
SAMPLES = {
    **dict.fromkeys(("content", "text", "prompt", "input", "query", "text_1", "text_2", "context_text"), "Hi"),
    "messages": [{"role": "user", "content": "Hi"}],
    "documents": ["Hi"],
    "tokens": [1],
    "embedding": [0.5] * 8,
    "image_url.url": data_url(picture()),
    "depth_url.url": GREY,
    "depth_url": {"url": GREY, "depth": {"unit": "disparity", "focal_px": 100, "baseline_m": 0.1}},
    "thermal_url.url": GREY,
    "audio_url.url": SOUND,
    "input_audio.data": SOUND.partition(",")[2],
    "format": "wav",
    "video_url.url": FILM,
    "imu_url.url": MOTION,
    "imu_url": {"url": MOTION, "imu": {"rate_hz": 50}},
    "points_url.url": POINTS,
    "file": {"file_data": data_url(picture())},
    "file with weight": {"modality": "image"},
    "file with depth": {"modality": "depth", "file": {"file_data": DEEP}},
    "file with thermal": {"modality": "thermal", "file": {"file_data": GREY}},
    "file with imu": {"modality": "imu", "file": {"file_data": MOTION}},
    "file with points": {"modality": "points", "file": {"file_data": POINTS}},
    "file with audio": {"modality": "audio", "file": {"file_data": SOUND}},
    "file with video": {"modality": "video", "file": {"file_data": FILM}},
    "role": "user",
    "function": {"name": "f"},
}


class Brief(FakeRuntime):
    """Answers in two tokens unless more are asked for."""

    def admit(self, request: SequenceRequest) -> Admitted:
        few = replace(request.params, max_tokens=min(request.params.max_tokens, max(2, request.params.min_tokens)))
        return super().admit(replace(request, params=few))


# A form's `user` may be any text, so that no number is beyond its range.
ANY_TEXT = ("/v1/generate", "user")


@pytest.fixture
def document(http: httpx.Client) -> Any:
    return http.get("/openapi.json").json()


NEVER_TAKEN: tuple[Callable[[Number], bool], ...] = (
    # A prompt has no turns, to which these belong.
    lambda number: number.operation == "/v1/completions" and number.name in ("options", "boxes"),
    # The only number option of the fake model is no list.
    lambda number: number.name == "options" and "[[" in number.json(""),
)
AT_ONCE = 8


@pytest.fixture
def model(tmp_path: Path) -> Iterator[httpx.Client]:
    """Of a gateway before a model that takes boxes and answers in a few tokens."""
    options = (*FAKE_INFO.options, OptionSpec("boxes", "boxes", "Places."))
    runtime = Brief(info=replace(FAKE_INFO, options=options))
    with (
        scripted_gateway(tmp_path, runtime) as gateway,
        httpx.Client(base_url=gateway.url, timeout=60, trust_env=False) as client,
    ):
        yield client


@pytest.mark.parametrize("media_type", ["multipart/form-data", "application/json"])
def test_every_number_of_a_body_is_answered_or_refused_by_name(
    model: httpx.Client, document: Any, media_type: str
) -> None:
    asked = [one for one in numbers(document, SAMPLES) if one.media_type == media_type and not _of_speech(one)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda number: _tried(model, number), asked))
    wrong = [line for lines, _ in found for line in lines]
    assert not wrong, "\n".join(wrong)
    never = [
        f"{one.operation} {'.'.join(one.path)}: {_send(model, one, one.values()[0]).text[:300]}"
        for one, (_, taken) in zip(asked, found, strict=True)
        if not taken and not any(is_there(one) for is_there in NEVER_TAKEN)
    ]
    assert not never, "\n".join(never)


def _of_speech(number: Number) -> bool:
    """Whether the endpoint is one of speech: the model has no recogniser; `test_audio.py` has their one number."""
    return number.operation.startswith("/v1/audio/")


def _tried(model: httpx.Client, number: Number) -> tuple[list[str], bool]:
    """The wrong answers to the number's values, and whether any was taken."""
    answers = {value: _send(model, number, value) for value in number.values()}
    flaws = {value: _flaw(number, value, answer) for value, answer in answers.items()}
    wrong = [
        f"{number.operation} {'.'.join(number.path)} {value[:40]}: {flaw}: {answers[value].text[:300]}"
        for value, flaw in flaws.items()
        if flaw is not None
    ]
    return wrong, any(answer.status_code == 200 for answer in answers.values())


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


HUGE = base64.b64encode(np.full(8, 3e38, "<f4").tobytes()).decode()
ZEROS, LAST = [0.0] * 8, [0.0] * 7 + [1.0]
NO_DIRECTION = [
    ("/v1/embeddings", {"input": [{"type": "embedding", "embedding": ZEROS}]}, "input[0].embedding"),
    ("/v1/rerank", {"query": {"content": [{"type": "embedding", "embedding": ZEROS}]}, "documents": ["Hi"]}, "query"),
    ("/v1/score", {"text_1": "Hi", "text_2": [{"type": "embedding", "embedding": ZEROS}]}, "text_2[0].embedding"),
    ("/v1/embeddings", {"input": [{"type": "embedding", "embedding": LAST}], "dimensions": 4}, "dimensions"),
    ("/v1/embeddings", {"input": [{"type": "embedding", "embedding": HUGE}]}, "input[0].embedding"),
]


@pytest.mark.parametrize(("path", "body", "field"), NO_DIRECTION)
def test_a_vector_that_cannot_be_scaled_to_length_1_is_refused_by_name(
    http: httpx.Client, path: str, body: Any, field: str
) -> None:
    answer = http.post(path, json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"].startswith(field), answer.text


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
    allowed = number.is_allowed(value) or (number.operation, number.name) == ANY_TEXT
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
