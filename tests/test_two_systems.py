"""Two systems behind one gateway, by the very commands of the guide, with the models of this repository."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service import settings
from service.local import ports
from tests.conftest import ROOT
from tests.pages import ADDRESS, blocks

GUIDE = ROOT / "docs/guides/imagebind-llm.md"
START_S = 400
SERVERS = ("serve", "worker")


def lines() -> list[list[str]]:
    [block] = blocks(GUIDE, "sh")
    return [shlex.split(line) for line in block.splitlines()]


@contextmanager
def started(words: list[str], env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server of the guide, from the repository's root; it is ended as by Ctrl-C."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", *words[1:]], cwd=ROOT, env=env, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=60)


def models(url: str) -> set[str]:
    try:
        answer = httpx.get(f"{url}/v1/models", timeout=20, trust_env=False)
    except httpx.TransportError:
        return set()
    return {card["id"] for card in answer.json()["data"]} if answer.status_code == 200 else set()


@pytest.mark.timeout(900)
def test_the_guides_second_worker_serves_beside_the_first(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    port = ports.choose("127.0.0.1", 0)
    given: dict[str, dict[str, object]] = {
        "gateway": {"port": port},
        "local": {"state": tmp_path / ".state"},
        "worker": {"dtype": "bfloat16", "runner": "torch"},  # nothing is chosen by trials, which take a while
        "decode": {"processes": 1},
    }
    env = {name: value for name, value in os.environ.items() if not name.startswith("PANDAGPT_")}
    env |= settings.environment(given)
    url, wanted = f"http://127.0.0.1:{port}", set[str]()
    commands = lines()
    assert [words[1] for words in commands if words[0] == "pandagpt"] == list(SERVERS)
    with ExitStack() as servers:
        for words in commands[: len(SERVERS)]:
            log = tmp_path / f"{words[1]}.txt"
            process = servers.enter_context(started(words, env, log))
            wanted.add(Path(words[words.index("--model") + 1]).name)
            limit = time.monotonic() + START_S
            while not wanted <= models(url):
                said = log.read_text(encoding="utf-8", errors="replace")
                assert process.poll() is None, said
                assert time.monotonic() < limit, said
                time.sleep(1)
        answers = [asked([word.replace(ADDRESS, url) for word in words]) for words in commands[len(SERVERS) :]]
    first, second, listed = answers
    assert {card["id"] for card in listed["data"]} == wanted == {first["model"], second["model"]}
    for answer in (first, second):
        assert re.search("dog", answer["choices"][0]["message"]["content"])
    counts = [answer["usage"]["prompt_tokens_details"]["cached_items"] for answer in (first, second)]
    assert counts == [0, 1], "the second system takes what the first encoded"


def asked(words: list[str]) -> Any:
    done = subprocess.run(["curl", "-sS", "--fail-with-body", *words[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)
