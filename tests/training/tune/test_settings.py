"""A run's settings: read strictly, and a mistake names the key, its value and the limit."""

from pathlib import Path
from typing import Any

import pytest

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.training.tune.settings import described, parse_tune_settings, read_tune_settings

LEAST: dict[str, Any] = {"model": "m", "out": "o", "data": {"files": ["x.json"]}}


def test_the_defaults_are_pandagpts() -> None:
    settings = parse_tune_settings(LEAST)
    lora, train = settings.lora, settings.train
    assert (lora.r, lora.alpha, lora.dropout) == (32, 32.0, 0.1)
    assert lora.targets == ("q_proj", "k_proj", "v_proj", "o_proj")
    assert (train.lr, train.epochs, train.betas, train.weight_decay, train.clip) == (5e-4, 2, (0.9, 0.95), 0.001, 1.0)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"train": {"lr": 0}}, "train.lr is 0; expected `float` > 0.0"),
        ({"train": {"warmup": 1.5}}, "train.warmup is 1.5; expected `float` < 1.0"),
        ({"train": {"batch": 2, "micro_batch": 4}}, "train.micro_batch is 4, train.batch only 2"),
        ({"train": {"precision": "fp8"}}, "train.precision is 'fp8'; expected auto or fp32 or bf16"),
        ({"lora": {"r": "x"}}, "lora.r is 'x'; expected `int`, got `str`"),
        ({"lora": {"targets": []}}, "lora.targets is []; expected `array` of length >= 1"),
        ({"data": {}}, "data.files is missing"),
        ({"data": {"files": [""]}}, "data.files[0] is ''; expected `str` of length >= 1"),
        ({"train": {"bach": 3}}, "there is no train.bach; did you mean train.batch?"),
        ({"model": 3}, "model is 3; expected `str`, got `int`"),
    ],
)
def test_a_wrong_key_is_told_with_its_value_and_limit(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_tune_settings(LEAST | wrong, "run.toml")
    assert refused.value.message == f"run.toml: {told}"


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('model = "base"\nout = "/elsewhere/run"\n[data]\nfiles = ["a.json"]\nmedia = "pictures"\n')
    settings = read_tune_settings(file)
    assert settings.model == str(tmp_path / "base")
    assert settings.out == "/elsewhere/run"
    assert (settings.data.files, settings.data.media) == ((str(tmp_path / "a.json"),), str(tmp_path / "pictures"))


@pytest.mark.parametrize(("text", "told"), [(None, "cannot read"), ("lr 3", "is no TOML"), ("model = ", "is no TOML")])
def test_a_file_that_cannot_be_read_is_named(text: str | None, told: str, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InvalidRequest, match=rf"run\.toml.*{told}|{told}.*run\.toml"):
        read_tune_settings(file)


def test_every_key_is_described_and_its_default_is_what_an_empty_file_gives() -> None:
    keys = list(described())
    assert all(key.description for key in keys)
    assert [key.name for key in keys if not key.default] == ["model", "out", "data.files"]
