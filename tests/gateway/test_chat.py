"""Chat completions over a real store and a fake worker: every part, every parameter, whole and streamed."""

import base64
import json
import logging
import re

import httpx
import numpy as np
import pytest

from pandagpt_core.media import samples
from pandagpt_core.types import Conversation, Modality, SamplingParams, Turn
from service.gateway.state import GatewayState
from tests.fakes import FakeRuntime, expected_text


def data_url(data: bytes, kind: str = "application/octet-stream") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


PNG = samples.picture("PNG")
PARTS = {
    "image": {"type": "image_url", "image_url": {"url": data_url(PNG, "image/png"), "detail": "low"}},
    "audio": {"type": "audio_url", "audio_url": {"url": data_url(samples.tone())}},
    "video": {"type": "video_url", "video_url": {"url": data_url(samples.film())}},
    "depth": {
        "type": "depth_url",
        "depth_url": {
            "url": data_url(samples.npy(np.ones((8, 8), np.float32))),
            "depth": {"unit": "m", "focal_px": 500, "baseline_m": 0.1},
        },
    },
    "thermal": {"type": "thermal_url", "thermal_url": {"url": data_url(PNG)}},
    "imu": {
        "type": "imu_url",
        "imu_url": {"url": data_url(samples.npy(np.ones((400, 6), np.float32))), "imu": {"rate_hz": 50}},
    },
    "text": {"type": "context_text", "context_text": "a dog"},
}


IDS = {"stream_options": {"include_event_ids": True}}


def ask(http: httpx.Client, content: object = "Hello there", **fields: object) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": content}], "seed": 7, "max_tokens": 5, **IDS, **fields}
    return http.post("/v1/chat/completions", json=body)


def events(response: httpx.Response) -> list[tuple[int, object]]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    found = re.findall(r"id: (\d+)\ndata: (.*)\n\n", response.text)
    return [(int(number), data if data == "[DONE]" else json.loads(data)) for number, data in found]


def test_a_whole_answer_is_the_workers_text_with_its_usage(http: httpx.Client) -> None:
    answer = ask(http).json()
    expected = expected_text(Conversation((Turn("user", "Hello there"),)), SamplingParams(max_tokens=5, seed=7))
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": expected, "refusal": None},
            "logprobs": None,
            "finish_reason": "length",
        }
    ]
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "fake"
    usage = answer["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (2, 5, 7)


def test_a_stream_has_the_role_first_the_same_text_and_one_end(http: httpx.Client) -> None:
    whole = ask(http).json()["choices"][0]["message"]["content"]
    numbered = events(ask(http, stream=True, stream_options={"include_usage": True, "include_event_ids": True}))
    assert [number for number, _ in numbered] == list(range(len(numbered)))
    chunks = [data for _, data in numbered[:-1]]
    assert numbered[-1][1] == "[DONE]"
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1]) == whole
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]].count(None) == len(chunks) - 2
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize("modality", list(PARTS))
def test_each_kind_of_part_reaches_its_encoder(http: httpx.Client, runtime: FakeRuntime, modality: str) -> None:
    answer = ask(http, [{"type": "text", "text": "What is it?"}, PARTS[modality]])
    assert answer.status_code == 200, answer.text
    assert runtime.encoded == {Modality(modality): 1}
    assert answer.json()["choices"][0]["message"]["content"].startswith(f"<{modality}:")
    assert answer.json()["usage"]["prompt_tokens_details"][f"{modality}_items"] == 1


def test_all_kinds_together_and_input_audio(http: httpx.Client, runtime: FakeRuntime) -> None:
    audio = base64.b64encode(samples.tone()).decode()
    own = {"type": "input_audio", "input_audio": {"data": audio, "format": "wav"}, "weight": 0.5}
    answer = ask(http, [{"type": "text", "text": "All?"}, *PARTS.values(), own])
    assert answer.status_code == 200, answer.text
    details = answer.json()["usage"]["prompt_tokens_details"]
    assert {name: details[f"{name}_items"] for name in PARTS} == {**dict.fromkeys(PARTS, 1), "audio": 2}
    assert runtime.encoded[Modality.AUDIO] == 1, "the same bytes are encoded once"


def test_the_same_picture_is_decoded_and_encoded_once(http: httpx.Client, runtime: FakeRuntime) -> None:
    for question in ("What?", "Why?"):
        assert ask(http, [{"type": "text", "text": question}, PARTS["image"]]).status_code == 200
    assert runtime.encoded == {Modality.IMAGE: 1}
    assert (
        ask(http, [{"type": "text", "text": "Who?"}, PARTS["image"]]).json()["usage"]["prompt_tokens_details"][
            "cached_items"
        ]
        == 1
    )


def test_a_medium_that_the_store_has_is_not_decoded_again(
    http: httpx.Client, shared_gateway: tuple[str, GatewayState]
) -> None:
    def decoded() -> float:
        name = "pandagpt_media_decode_seconds_count"
        return shared_gateway[1].registry.get_sample_value(name, {"modality": "image"}) or 0.0

    before = decoded()
    for _ in range(3):
        assert ask(http, [PARTS["image"], PARTS["image"]]).status_code == 200
    assert decoded() == before + 1


def test_no_log_line_holds_a_prompt_or_a_medium(http: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    canary = "canary-3b9f"
    with caplog.at_level(logging.DEBUG):
        asked = ask(http, [{"type": "text", "text": canary}, {"type": "context_text", "context_text": canary}])
        assert asked.status_code == 200
        assert ask(http, [{"type": "image_url", "image_url": {"url": data_url(canary.encode())}}]).status_code == 400
        assert ask(http, canary, temperature=canary).status_code == 400
    ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert any(record.name.startswith("service.gateway") for record in ours)
    spoken = "".join(f"{record.getMessage()}{record.__dict__}" for record in ours)
    assert canary not in spoken
    assert base64.b64encode(canary.encode()).decode() not in spoken


def test_a_picture_as_image_and_as_thermal_is_two_media(http: httpx.Client, runtime: FakeRuntime) -> None:
    assert ask(http, [PARTS["image"], PARTS["thermal"]]).status_code == 200
    assert runtime.encoded == {Modality.IMAGE: 1, Modality.THERMAL: 1}


def test_turns_keep_their_roles_and_their_order(http: httpx.Client) -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": ["One", {"type": "text", "text": "two"}]},
        {"role": "assistant", "content": "Three", "name": "x"},
        {"role": "user", "content": "Four"},
    ]
    answer = http.post("/v1/chat/completions", json={"messages": messages, "seed": 7, "max_tokens": 5})
    turns = (Turn("system", "Be brief."), Turn("user", "One\ntwo"), Turn("assistant", "Three"), Turn("user", "Four"))
    expected = expected_text(Conversation(turns), SamplingParams(max_tokens=5, seed=7))
    assert answer.json()["choices"][0]["message"]["content"] == expected


def test_choices_stops_and_log_probabilities(http: httpx.Client) -> None:
    plain = ask(http, n=3).json()["choices"]
    assert [choice["index"] for choice in plain] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in plain}) == 3
    word = plain[0]["message"]["content"].split()[2]
    stopped = ask(http, stop=f" {word}").json()["choices"][0]
    assert stopped["finish_reason"] == "stop"
    assert word not in stopped["message"]["content"]
    logprobs = ask(http, logprobs=True, top_logprobs=2).json()["choices"][0]["logprobs"]["content"]
    assert len(logprobs) == 5
    assert len(logprobs[0]["top_logprobs"]) == 2
    assert "".join(one["token"] for one in logprobs) == plain[0]["message"]["content"]
    streamed = events(ask(http, logprobs=True, stream=True, n=2))
    entries = [data["choices"][0]["logprobs"] for _, data in streamed[:-1] if data["choices"][0]["logprobs"]]
    assert len(entries) == 10


def test_a_seed_makes_answers_repeat_and_none_makes_them_differ(http: httpx.Client) -> None:
    def text(**fields: object) -> str:
        return ask(http, **fields).json()["choices"][0]["message"]["content"]

    assert text(seed=1) == text(seed=1) != text(seed=2)
    assert text(seed=None) != text(seed=None)


def test_max_completion_tokens_goes_before_max_tokens(http: httpx.Client) -> None:
    assert ask(http, max_completion_tokens=3).json()["usage"]["completion_tokens"] == 3


def test_unknown_parameters_are_ignored_and_named(http: httpx.Client) -> None:
    answer = ask(http, store=True, metadata={"a": 1}, **{"bad name\r\nx: y": 1})
    assert answer.status_code == 200
    assert answer.headers["x-ignored-params"] == "store, metadata"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("modalities", ["audio"]),
        ("best_of", 4),
    ],
)
def test_parameters_that_would_change_the_answer_are_refused_by_name(
    http: httpx.Client, field: str, value: object
) -> None:
    answer = ask(http, **{field: value})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)


def test_their_values_that_change_nothing_are_taken(http: httpx.Client) -> None:
    assert ask(http, tools=[], tool_choice="auto", response_format={"type": "text"}, logit_bias=None).status_code == 200


def test_the_callers_request_id_is_echoed_if_it_is_plain(http: httpx.Client) -> None:
    assert http.get("/v1/models", headers={"x-request-id": "my.id_1-2"}).headers["x-request-id"] == "my.id_1-2"
    made = http.get("/v1/models", headers={"x-request-id": "not plain"}).headers["x-request-id"]
    assert re.fullmatch(r"req-[0-9a-f]{32}", made)


def test_sixty_four_at_once_each_get_their_own_pictures_answer(http: httpx.Client, runtime: FakeRuntime) -> None:
    from concurrent.futures import ThreadPoolExecutor
    from io import BytesIO

    from PIL import Image

    from pandagpt_core import media
    from tests.fakes import fake_embedding

    def picture(number: int) -> bytes:
        out = BytesIO()
        Image.new("RGB", (16, 16), (number * 3, 255 - number, number)).save(out, "PNG")
        return out.getvalue()

    def tag(data: bytes) -> str:
        array = media.load("imagebind-image-v1", data, {}, media.Limits())
        return f"<image:{fake_embedding(Modality.IMAGE, array).tobytes().hex()[:8]}>"

    def one(number: int) -> tuple[str, str]:
        data = picture(number)
        part = {"type": "image_url", "image_url": {"url": data_url(data)}}
        body = {"messages": [{"role": "user", "content": [part]}], "max_tokens": 8}
        with httpx.Client(base_url=http.base_url, timeout=60, trust_env=False) as own:
            if number % 2:
                answer = own.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
            else:
                stream = events(own.post("/v1/chat/completions", json={**body, **IDS, "stream": True}))
                answer = "".join(data["choices"][0]["delta"].get("content", "") for _, data in stream[:-1])
        return answer, tag(data)

    with ThreadPoolExecutor(64) as threads:
        answers = list(threads.map(one, range(64)))
    assert len({expected for _, expected in answers}) == 64
    for answer, expected in answers:
        assert answer.startswith(expected)
    assert runtime.encoded == {Modality.IMAGE: 64}
