"""The whole service, real from end to end, on the tiny PandaGPT: started, asked, wounded, ended."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt
from pandagpt_core.encoders.sizes import TOWERS, ImageBindSizes, TowerSize
from tests.serving import Served, served

SIZES = ImageBindSizes(**{name: TowerSize(48 if name == "depth" else 64, 2, 4) for name in TOWERS}, out=32, vocab=512)


@pytest.fixture(scope="module")
def model(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny PandaGPT, converted."""
    folder = tmp_path_factory.mktemp("model")
    torch.save(load_file(golden / "imagebind-tiny/weights.safetensors"), folder / "imagebind.pth")
    tiny = golden / "pandagpt-tiny"
    originals = PandaGPTOriginals(
        folder / "imagebind.pth", tiny / "vicuna_tiny", tiny / "pandagpt_ckpt/pytorch_model.pt"
    )
    convert_pandagpt(originals, folder / "panda-tiny", PandaGPTOptions(model_id="panda-tiny", sizes=SIZES))
    return folder / "panda-tiny"


@pytest.fixture(scope="module")
def house(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(model, tmp_path_factory.mktemp("house")) as running:
        yield running


@pytest.fixture
def client(house: Served) -> Iterator[httpx.Client]:
    limits = httpx.Limits(max_connections=None)
    with httpx.Client(base_url=house.url, timeout=60, trust_env=False, limits=limits) as connection:
        yield connection


@pytest.fixture
def picture(golden: Path) -> bytes:
    return sorted((golden / "preprocessing/media").glob("*.png"))[0].read_bytes()


def ask(tokens: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Tell me."}], "max_tokens": tokens, "seed": 7}


def deltas(lines: Iterator[str]) -> Iterator[str]:
    """The texts of a stream that must end well."""
    for line in lines:
        if line == "data: [DONE]":
            return
        if line.startswith("data: "):
            event = json.loads(line.removeprefix("data: "))
            assert "error" not in event, event
            yield from (choice["delta"].get("content", "") for choice in event["choices"])
    raise AssertionError("the stream has no end")


def test_a_picture_and_a_question_are_answered_in_a_stream(client: httpx.Client, picture: bytes) -> None:
    form = {"prompt": "What is this?", "stream": "true", "max_tokens": "5", "seed": "1"}
    with client.stream("POST", "/v1/generate", data=form, files={"image": ("x.png", picture)}) as response:
        assert response.status_code == 200
        assert "".join(deltas(response.iter_lines()))


def test_the_same_picture_is_not_encoded_twice(client: httpx.Client, picture: bytes) -> None:
    form = {"prompt": "And now?", "max_tokens": "2"}
    for _ in range(2):
        answer = client.post("/v1/generate", data=form, files={"image": ("y.png", picture)})
    assert answer.json()["usage"]["prompt_tokens_details"]["cached_items"] == 1


def test_64_at_once_of_mixed_lengths_each_get_the_answer_of_their_own_picture(client: httpx.Client) -> None:
    def asked(number: int) -> str:
        tokens, words = 1 + number % 16, "very " * (number * 5 % 200)
        form = {"prompt": f"What {words}is this?", "max_tokens": str(tokens), "temperature": "0"}
        with_stream = number % 2 == 1
        if not with_stream:
            answer = client.post("/v1/generate", data=form, files={"image": ("x.png", square(number))})
            return str(answer.json()["choices"][0]["message"]["content"])
        files = {"image": ("x.png", square(number))}
        with client.stream("POST", "/v1/generate", data={**form, "stream": "true"}, files=files) as response:
            return "".join(deltas(response.iter_lines()))

    with ThreadPoolExecutor(64) as callers:
        together = list(callers.map(asked, range(64)))
    some = range(0, 64, 7)
    assert [asked(number) for number in some] == [together[number] for number in some]
    assert len({together[number] for number in some}) > len(some) // 2  # they are not all one answer


def test_a_worker_killed_in_mid_answer_costs_the_caller_nothing(client: httpx.Client, house: Served) -> None:
    whole = client.post("/v1/chat/completions", json=ask(400)).json()["choices"][0]["message"]["content"]
    with client.stream("POST", "/v1/chat/completions", json={**ask(400), "stream": True}) as response:
        stream = deltas(response.iter_lines())
        seen = "".join(next(stream) for _ in range(12))
        os.kill(worker(house), signal.SIGKILL)
        killed = time.monotonic()
        seen += "".join(stream)
    assert seen == whole
    assert time.monotonic() - killed > 1.0  # it waited for another worker: the answer was not done before
    assert "worker ended (signal SIGKILL)" in house.output


def test_ending_it_leaves_no_process(house: Served) -> None:
    started = house.descendants()
    assert len(started) >= 3
    house.process.send_signal(signal.SIGINT)
    assert house.process.wait(timeout=30) == 0
    limit = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in started):
        assert time.monotonic() < limit, house.output
        time.sleep(0.05)


def test_the_demo_asks_about_every_sample_and_two_at_once_and_ends(
    model: Path, golden: Path, picture: bytes, tmp_path: Path
) -> None:
    samples = tmp_path / "samples"
    samples.mkdir()
    (samples / "dog.png").write_bytes(picture)
    sound = sorted((golden / "preprocessing/media").glob("*.wav"))[0]
    (samples / "bark.wav").write_bytes(sound.read_bytes())
    (samples / "broken.png").write_bytes(b"no picture")
    command = [sys.executable, "-m", "service.cli", "demo", "--model", model, "--samples", samples]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120, check=False)
    headings = [line.split("   ")[0] for line in done.stdout.splitlines() if line.startswith(("image ", "audio "))]
    assert headings == ["audio bark.wav", "image broken.png", "image dog.png", "image broken.png + audio bark.wav"]
    assert done.stdout.count("(invalid_media)") == 2
    assert done.returncode == 1  # because of the broken one
    assert "Ctrl-C" not in done.stdout  # answers alone


def square(number: int) -> bytes:
    """A picture of its own for each number."""
    drawn = io.BytesIO()
    Image.new("RGB", (32, 32), (number * 4 % 256, number * 37 % 256, number * 91 % 256)).save(drawn, "PNG")
    return drawn.getvalue()


def worker(house: Served) -> int:
    """The worker's process id."""
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in house.descendants()}
    return next(pid for pid, words in commands.items() if b"worker" in words)
