"""The command: its messages and its exit status."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pandagpt_core.checkpoints import read_model_folder
from pandagpt_core.encoders.sizes import ImageBindSizes
from service import cli
from tests.parity.bind_tiny import SIZES, originals


@pytest.fixture
def words(tmp_path: Path, golden: Path) -> list[str]:
    """Arguments that name the tiny originals, without their sizes."""
    torch.save(load_file(golden / "imagebind-tiny" / "weights.safetensors"), tmp_path / "imagebind.pth")
    pandagpt = golden / "pandagpt-tiny"
    named = {
        "--imagebind": tmp_path / "imagebind.pth",
        "--llm": pandagpt / "vicuna_tiny",
        "--delta": pandagpt / "pandagpt_ckpt" / "pytorch_model.pt",
        "--out": tmp_path / "panda-tiny",
    }
    return ["convert", *[str(word) for pair in named.items() for word in pair]]


@pytest.fixture
def sizes(tmp_path: Path) -> Path:
    names = ("vision", "text", "audio", "depth", "thermal", "imu")
    towers = {name: {"width": 48 if name == "depth" else 64, "blocks": 2, "heads": 4} for name in names}
    path = tmp_path / "sizes.json"
    path.write_text(json.dumps({**towers, "out": 32, "vocab": 512}))
    return path


def test_the_command_makes_a_folder_and_says_what_it_is(
    words: list[str], sizes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*words, "--imagebind-sizes", str(sizes), "--dtype", "float16", "--max-model-len", "512"]) == 0
    assert "panda-tiny, context 512, begins with <s> (id 1, by special_tokens_map.json)" in capsys.readouterr().out
    folder = tmp_path / "panda-tiny"
    assert read_model_folder(folder).id == "panda-tiny"
    assert load_file(folder / "adapter.safetensors")["projection.weight"].dtype == torch.float16


def test_a_refusal_is_a_message_and_a_status(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    assert "of other sizes, which must be given" in capsys.readouterr().err


def test_a_sizes_file_with_a_mistake_is_refused(
    words: list[str], sizes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes.write_text(sizes.read_text().replace("heads", "haeds"))
    assert cli.main([*words, "--imagebind-sizes", str(sizes)]) == 2
    assert "haeds" in capsys.readouterr().err


def test_the_sizes_on_the_page_are_sizes(root: Path) -> None:
    page = (root / "docs/convert.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert ImageBindSizes.from_config(json.loads(shown)).to_config() == json.loads(shown)


def test_minigpt_v2_is_named_and_made(golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = golden / "minigpt-v2-tiny"
    (tmp_path / "sizes.json").write_text(json.dumps({"width": 48, "blocks": 3, "heads": 4, "mlp": 209}))
    words = ["convert", "--system", "minigpt-v2", "--llm", str(tiny / "llama2_tiny"), "--lora-alpha", "2"]
    words += ["--checkpoint", str(tiny / "weights.safetensors"), "--eva-sizes", str(tmp_path / "sizes.json")]
    assert cli.main([*words, "--out", str(tmp_path / "made")]) == 0
    assert "context 2048, 256 tokens a picture" in capsys.readouterr().out
    assert read_model_folder(tmp_path / "made").system == "minigpt-v2"


def test_imagebind_llm_is_named_and_made(golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = originals(golden, tmp_path)
    (tmp_path / "sizes.json").write_text(json.dumps(SIZES.to_config()))
    words = ["convert", "--system", "imagebind-llm", "--imagebind", str(files.imagebind), "--llama", str(files.llama)]
    words += ["--adapter", str(files.adapter), "--cache", str(files.cache), "--out", str(tmp_path / "made")]
    assert cli.main([*words, "--imagebind-sizes", str(tmp_path / "sizes.json")]) == 0
    printed = capsys.readouterr().out
    assert "context 2048" in printed
    assert "points" in printed
    assert "a cache of 64 image features" in printed
    assert read_model_folder(tmp_path / "made").system == "imagebind-llm"


def test_an_argument_that_a_system_needs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["convert", "--llm", str(tmp_path), "--out", str(tmp_path / "made")]) == 2
    assert "--system pandagpt needs --imagebind" in capsys.readouterr().err
