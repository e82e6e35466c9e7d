"""MiniGPT-v2 as its user starts it: `pandagpt serve` on a converted folder, held to the original's answers."""

import base64
import io
import json
import os
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from PIL import Image, ImageDraw

from pandagpt_core.convert.minigpt_v2 import MiniGPTv2Options, MiniGPTv2Originals, convert_minigpt_v2
from tests import golden as vectors
from tests.parity.minigpt_tiny import PART, Golden, of_the_demo, split
from tests.serving import Served, served

QUESTIONS = vectors.cases(PART, "chat", lambda chat: not chat["history"])
TALKS = vectors.cases(PART, "chat", lambda chat: len(chat["history"] or ()) == 1 and not of_the_demo(chat))
CONFIG = vectors.read(PART)
PLAIN = {"temperature": 0, "repetition_penalty": 1, "max_tokens": CONFIG.get("max_new_tokens", 1)}
BLOCK = 16  # tokens that the prefix cache keeps together


@pytest.fixture(scope="module")
def given(golden: Path) -> Golden:
    return Golden.read(golden)


@pytest.fixture(scope="module")
def chats(given: Golden) -> Mapping[str, Any]:
    told: Mapping[str, Any] = given.said["chat"]
    return told


@pytest.fixture(scope="module")
def service(given: Golden, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder, tiny = tmp_path_factory.mktemp("served"), given.folder
    options = MiniGPTv2Options("minigpt-v2", vectors.eva_sizes(tiny.parent), lora_alpha=float(CONFIG["lora_alpha"]))
    originals = MiniGPTv2Originals(tiny / "llama2_tiny", checkpoint=tiny / "weights.safetensors")
    convert_minigpt_v2(originals, folder / "model", options)
    with served(folder / "model", folder, dtype="float32", runner="torch", threads=1) as running:
        yield running


@pytest.fixture
def http(service: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=120, trust_env=False) as client:
        yield client


def asked(name: str, chats: Mapping[str, Any]) -> dict[str, Any]:
    """The question of a golden chat as a caller asks it: its task and boxes as fields."""
    task, text, box = split(chats[name])
    boxes = {"boxes": json.dumps([box]), "boxes_unit": "fraction"} if box else {}
    return {"prompt": text, **({"task": task} if task else {}), **boxes}


def send(http: httpx.Client, image: bytes, fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = http.post("/v1/generate", data={**PLAIN, **fields, **more}, files={"image": ("a.jpg", image)})
    assert answer.status_code == 200, answer.text
    whole: dict[str, Any] = answer.json()
    return whole


def text_of(whole: dict[str, Any]) -> str:
    text: str = whole["choices"][0]["message"]["content"]
    return text


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_file_over_http_gets_the_originals_answer(
    http: httpx.Client, given: Golden, chats: Mapping[str, Any], name: str
) -> None:
    whole = send(http, given.picture(given.picture_of(name)), asked(name, chats))
    assert text_of(whole).strip() == chats[name]["text"]
    assert whole["choices"][0]["message"]["objects"] == []  # the random weights write none
    assert whole["usage"]["prompt_tokens_details"]["image_items"] == 1


@pytest.mark.parametrize("name", TALKS)
def test_a_talk_keeps_its_answers(service: Served, given: Golden, name: str) -> None:
    case, picture = given.said["chat"][name], given.picture(given.picture_of(name))
    [[question, answer]] = case["history"]
    url = "data:image/jpeg;base64," + base64.b64encode(picture).decode()
    first = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question}]
    messages = [
        {"role": "user", "content": first},
        {"role": "assistant", "content": answer},
        {"role": "user", "content": case["user_text"]},
    ]
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key="none") as client:
        completion = client.chat.completions.create(
            model="minigpt-v2",
            messages=messages,  # type: ignore[arg-type]  # plain dictionaries, as callers write them
            temperature=0,
            max_tokens=PLAIN["max_tokens"],
            extra_body={"repetition_penalty": 1},
        )
    assert (completion.choices[0].message.content or "").strip() == case["text"]


def test_a_second_question_about_a_picture_prefills_its_words_alone(
    http: httpx.Client, chats: Mapping[str, Any]
) -> None:
    image = picture(99)
    before = len(chats[QUESTIONS[0]]["segment_ids"][0])
    first, second = (send(http, image, asked(name, chats))["usage"] for name in QUESTIONS[:2])
    assert first["prompt_tokens_details"]["cached_tokens"] == 0
    found = second["prompt_tokens_details"]
    assert (found["cached_items"], found["cached_tokens"] >= 256) == (1, True)
    words = second["prompt_tokens"] - before - 256  # behind the picture
    assert second["prompt_tokens"] - found["cached_tokens"] <= words + BLOCK


def test_32_requests_at_once_are_answered_as_each_alone(http: httpx.Client, chats: Mapping[str, Any]) -> None:
    wanted = [(picture(index % 11), asked(QUESTIONS[index % len(QUESTIONS)], chats)) for index in range(32)]
    with ThreadPoolExecutor(32) as pool:
        together = list(pool.map(lambda one: text_of(send(http, *one)), wanted))
    alone = [text_of(send(http, *one)) for one in wanted]
    assert together == alone
    assert len(set(alone)) > 16


def test_a_killed_workers_answer_goes_on_word_for_word(
    service: Served, http: httpx.Client, chats: Mapping[str, Any]
) -> None:
    fields, image = {**asked(QUESTIONS[0], chats), "max_tokens": 400}, picture(5)
    expected = text_of(send(http, image, fields))
    text, killed = "", False
    data, files = {**PLAIN, **fields, "stream": "true"}, {"image": ("a.png", image)}
    with http.stream("POST", "/v1/generate", data=data, files=files) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: {"):
                chunk = json.loads(line[6:])
                assert "error" not in chunk, chunk
                text += chunk["choices"][0]["delta"].get("content", "")
            if len(text) > 20 and not killed:
                os.kill(worker_of(service), signal.SIGKILL)
                killed = True
    assert killed
    assert text == expected
    assert http.get(f"/v1/requests/{chunk['id']}").json()["attempts"] == 2


def worker_of(service: Served) -> int:
    [worker] = [pid for pid in service.descendants() if b"\0worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return worker


def picture(seed: int) -> bytes:
    image = Image.new("RGB", (96 + seed, 64), (20 * seed % 256, 40, 200 - seed))
    ImageDraw.Draw(image).ellipse((seed, 5, seed + 40, 50), fill=(255 - 20 * (seed % 12), 90, 30))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
