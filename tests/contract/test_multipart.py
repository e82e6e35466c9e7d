"""Every field of POST /v1/generate, seen at the worker or in the answer; the same answers and events as chat."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.gateway.inference.parsing.form import FILE_FIELDS
from service.gateway.routes.generate import request_body
from service.gateway.schema.requests import CHAT_ONLY
from tests.contract import made
from tests.contract.conftest import SeeingRuntime

PLAIN = {"prompt": "What is it?", "max_tokens": "4", "seed": "7"}
FILES: dict[str, tuple[bytes, dict[str, str]]] = {
    "image": (made.PNG, {}),
    "video": (made.VIDEO, {}),
    "audio": (made.sound("mp3"), {}),
    "depth": (made.grey("png"), {"depth_unit": "mm", "depth_focal_px": "500", "depth_baseline_m": "0.1"}),
    "thermal": (made.grey("png", 8), {}),
    "imu": (made.motion("csv"), {"imu_rate_hz": "50"}),
    "points": (made.cloud("ply"), {"points_start": "829"}),
}
SAMPLED: dict[str, tuple[str, Any]] = {
    "temperature": ("0.5", 0.5),
    "top_p": ("0.9", 0.9),
    "top_k": ("40", 40),
    "min_p": ("0.05", 0.05),
    "repetition_penalty": ("1.1", 1.1),
    "frequency_penalty": ("0.4", 0.4),
    "presence_penalty": ("-0.4", -0.4),
    "no_repeat_ngram_size": ("5", 5),
    "seed": ("11", 11),
    "min_tokens": ("2", 2),
    "max_tokens": ("3", 3),
    "max_completion_tokens": ("2", 2),
}
OTHERS = {"prompt", "model", "text", "messages", "weights", "stream", "stream_options", "include_usage", "stop", "n"}
OTHERS |= {
    "explain",
    "logprobs",
    "top_logprobs",
    "user",
    "priority",
    "depth_unit",
    "depth_focal_px",
    "depth_baseline_m",
}
OTHERS |= {"ignore_eos", "stop_token_ids", "logit_bias", "response_format", "structured_outputs", "options"}
OTHERS |= {"bad_words", "best_of", "explain"}
OTHERS |= {"task", "boxes", "boxes_unit", "annotate"}
OTHERS |= {"thermal_unit", "depth_scale", "audio_clips", "video_audio", "imu_units"}
OTHERS |= {"guided_json", "guided_regex", "guided_choice", "guided_grammar"}
OTHERS |= {"thermal_low", "thermal_high", "imu_rate_hz", "points_start"}


def ask(http: httpx.Client, files: list[tuple[str, bytes]] = [], **fields: Any) -> httpx.Response:  # noqa: B006  only read
    sent: Any = [(name, ("file", data)) for name, data in files] or {"prompt": (None, b"What is it?")}
    data = {**PLAIN, **fields}
    if not files:
        del data["prompt"]
    return http.post("/v1/generate", data=data, files=sent)


def text(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    said: str = answer.json()["choices"][0]["message"]["content"]
    return said


def test_every_field_of_the_form_is_in_a_test_here() -> None:
    properties = request_body()["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert set(properties) == set(FILES) | set(SAMPLED) | OTHERS
    assert set(FILES) == set(FILE_FIELDS)


@pytest.mark.parametrize("name", list(FILES))
def test_each_kind_of_file_may_be_sent_and_repeated(http: httpx.Client, runtime: SeeingRuntime, name: str) -> None:
    data, parameters = FILES[name]
    assert text(ask(http, [(name, data), (name, data)], **parameters)).startswith(f"<{name}:")
    (conversation, _) = runtime.seen[0]
    assert [use.modality for use in conversation.media] == [name, name]


@pytest.mark.parametrize("name", list(SAMPLED))
def test_each_sampling_number_reaches_the_model(http: httpx.Client, runtime: SeeingRuntime, name: str) -> None:
    sent, expected = SAMPLED[name]
    ask(http, **{name: sent})
    (_, params) = runtime.seen[0]
    assert getattr(params, name.replace("completion_", "")) == expected


@pytest.mark.parametrize("name", ["image[]", "image[0]"])
def test_a_repeated_field_may_have_brackets(http: httpx.Client, name: str) -> None:
    assert text(ask(http, [(name, made.PNG), (name, made.PNG)])).startswith("<image:")


def test_an_upload_may_stand_in_the_place_of_a_file(http: httpx.Client) -> None:
    upload = http.post("/v1/files", files={"file": ("a.png", made.PNG)}).json()
    answer = http.post("/v1/generate", data=PLAIN, files={"image": (None, f"file:{upload['id']}")})
    assert text(answer).startswith("<image:")
    missing = http.post("/v1/generate", data=PLAIN, files={"image": (None, "file:none")})
    assert (missing.status_code, missing.json()["error"]["param"]) == (404, "image")


def test_a_forgotten_at_sign_is_named(http: httpx.Client) -> None:
    answer = http.post("/v1/generate", data=PLAIN, files={"image": (None, "dog.jpg")})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "image")
    assert "is an @ missing? curl -F image=@FILE" in answer.json()["error"]["message"]


@pytest.mark.parametrize("name", CHAT_ONLY)
def test_a_field_of_chat_alone_is_refused_in_a_form(http: httpx.Client, name: str) -> None:
    answer = ask(http, **{name: "[]"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


def test_prompt_is_required_and_is_the_users_turn(http: httpx.Client, runtime: SeeingRuntime) -> None:
    ask(http)
    assert runtime.seen[0][0].turns[-1].text == "What is it?"
    error = http.post("/v1/generate", files={"image": made.PNG}).json()["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "prompt")


def test_model_names_the_model(http: httpx.Client) -> None:
    assert ask(http, model="fake").json()["model"] == "fake"
    assert ask(http, model="nobody").json()["error"]["code"] == "model_not_found"


def test_text_is_context_text_and_may_be_repeated(http: httpx.Client, runtime: SeeingRuntime) -> None:
    assert text(ask(http, text=["a dog", "a cat"])).startswith("<text:")
    assert [use.modality for use in runtime.seen[0][0].media] == ["text", "text"]


def test_messages_are_earlier_turns_with_their_own_media(http: httpx.Client, runtime: SeeingRuntime) -> None:
    part = {"type": "image_url", "image_url": {"url": made.data_url(made.PNG)}}
    earlier = [{"role": "user", "content": [part, "One"]}, {"role": "assistant", "content": "Two"}]
    ask(http, [("audio", made.sound("wav"))], messages=json.dumps(earlier))
    (conversation, _) = runtime.seen[0]
    assert [turn.text for turn in conversation.turns] == ["One", "Two", "What is it?"]
    assert [(use.modality, use.turn) for use in conversation.media] == [("image", 0), ("audio", 2)]


def test_weights_are_one_number_a_file_in_the_order_sent(http: httpx.Client, runtime: SeeingRuntime) -> None:
    files = [("image", made.PNG), ("audio", made.sound("wav")), ("image", made.grey("png", 8))]
    ask(http, files, weights='{"image": [0.5, 2], "audio": [0.25]}')
    assert [use.weight for use in runtime.seen[0][0].media] == [0.5, 0.25, 2.0]
    error = ask(http, [("image", made.PNG)], weights='{"image": [1, 2]}').json()["error"]
    assert error["param"] == "weights.image"


@pytest.mark.parametrize("name", ["depth_unit", "depth_focal_px", "depth_baseline_m", "imu_rate_hz"])
def test_the_parameters_of_depth_and_imu_are_needed_and_named(http: httpx.Client, name: str) -> None:
    field = name.partition("_")[0]
    data, parameters = FILES[field]
    missing = {key: value for key, value in parameters.items() if key != name}
    answer = ask(http, [(field, data)], **missing)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


def test_thermal_low_and_high_come_together(http: httpx.Client) -> None:
    thermal = [("thermal", made.grey("png"))]
    assert ask(http, thermal, thermal_low="100", thermal_high="4000").status_code == 200
    answer = ask(http, thermal, thermal_low="100")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "thermal_low")


def test_stream_gives_the_events_of_chat(http: httpx.Client) -> None:
    lines = ask(http, stream="true").text.split("\n")
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == text(ask(http))
    chat = {"messages": [{"role": "user", "content": "What is it?"}], "max_tokens": 4, "seed": 7, "stream": True}
    chat["stream_options"] = {"include_event_ids": True}
    of_chat = http.post("/v1/chat/completions", json=chat).text.split("\n")
    assert [line for line in lines if line.startswith("id:")] == [line for line in of_chat if line.startswith("id:")]


@pytest.mark.parametrize("asked", [{"include_usage": "true"}, {"stream_options": '{"include_usage": true}'}])
def test_include_usage_is_a_field_or_json_as_in_chat(http: httpx.Client, asked: dict[str, str]) -> None:
    assert '"choices":[],"usage":{"prompt_tokens":3' in ask(http, stream="true", **asked).text
    assert '"choices":[]' not in ask(http, stream="true").text


def test_stop_may_be_repeated(http: httpx.Client) -> None:
    words = text(ask(http)).split()
    assert text(ask(http, stop=["none such", f" {words[2]}"])).split() == words[:2]


def test_explain_gives_what_each_medium_contributes(http: httpx.Client) -> None:
    files = [("image", ("a.png", made.PNG)), ("audio", ("a.wav", made.sound("wav")))]
    form = {"prompt": "x", "explain": "true", "max_tokens": "4"}
    answer = http.post("/v1/generate", data=form, files=files)
    assert answer.status_code == 200, answer.text
    found = answer.json()["choices"][0]["fields"]["contributions"]
    assert {one["modality"] for one in found["media"]} == {"image", "audio"}
    lines = http.post("/v1/generate", data={**form, "stream": "true"}, files=files).text.splitlines()
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    (told,) = [choice["fields"] for chunk in chunks for choice in chunk["choices"] if choice.get("fields")]
    assert told["contributions"] == found
    many = [("image", (f"{n}.png", made.PNG)) for n in range(9)]
    refused = http.post("/v1/generate", data=form, files=many)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "explain"
    assert "at most 8 media; the request has 9" in refused.json()["error"]["message"]


def test_n_logprobs_user_and_priority_are_those_of_chat(http: httpx.Client) -> None:
    answer = ask(http, n="2", logprobs="true", top_logprobs="3", user="ann", priority="batch")
    assert "x-ignored-params" not in answer.headers
    assert [choice["index"] for choice in answer.json()["choices"]] == [0, 1]
    assert len(answer.json()["choices"][1]["logprobs"]["content"][0]["top_logprobs"]) == 3


def test_the_curl_line_of_the_interface_page_streams_the_same_events(url: str, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    (tmp_path / "dog.jpg").write_bytes(made.PNG)
    (tmp_path / "bark.wav").write_bytes(made.sound("wav"))
    fields = ["-F", "prompt=What is this?", "-F", "image=@dog.jpg", "-F", "audio=@bark.wav", "-F", "stream=true"]
    command = ["curl", "-sN", *fields, f"{url}/v1/generate"]
    output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30).stdout
    assert output.startswith("id: 0\ndata: {")
    assert "<image:" in output
    assert output.endswith("data: [DONE]\n\n")
