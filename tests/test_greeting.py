"""The commands that `pandagpt serve` prints can be pasted and work."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from pandagpt_core import autotune
from pandagpt_core.autotune import AutotuneReport, Trial
from service.local import greeting


@dataclass(frozen=True)
class ServePlan:
    url: str = "http://127.0.0.1:8123"
    model: Path = Path("models/panda-mini")
    state: Path = Path(".state")
    own_store: bool = True
    cache: Path = Path("no/such/folder")


def curl(text: str) -> list[str]:
    return shlex.split(next(line for line in text.splitlines() if line.strip().startswith("curl")))


def test_the_curl_line_names_the_address_and_a_sample_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples/cat.png").touch()
    (tmp_path / "samples/bark.wav").touch()
    words = curl(greeting.ready(ServePlan(), 1.0, None))
    assert words[-1] == "http://127.0.0.1:8123/v1/generate"
    assert "image=@samples/cat.png" in words
    assert "-H" not in words


def test_with_keys_the_curl_line_asks_for_one() -> None:
    assert "Authorization: Bearer $KEY" in curl(greeting.ready(ServePlan(), 1.0, Path("keys")))


def test_the_opening_says_where_the_data_lies() -> None:
    assert "embedded Valkey, data in .state/store" in greeting.opening(ServePlan())
    assert "PANDAGPT_STORE_URL" in greeting.opening(ServePlan(own_store=False))


def test_the_greeting_has_what_was_chosen_at_load_with_its_figures(tmp_path: Path) -> None:
    autotune.save(
        [AutotuneReport("language model", "torch int8", "nats", (Trial("torch int8", 0.002, 0.01),))], tmp_path
    )
    text = greeting.ready(ServePlan(cache=tmp_path), 1.0, None)
    assert "language model: torch int8, 2 ms for the trial's steps, deviation 0.01 nats" in text
