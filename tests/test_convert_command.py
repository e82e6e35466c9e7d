"""`pandagpt convert` on the tiny originals: the folder, or what does not fit."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pandagpt_core.checkpoints import read_model_folder
from pandagpt_core.encoders.sizes import TOWERS, ImageBindSizes, TowerSize
from service import cli

SIZES = ImageBindSizes(**{name: TowerSize(48 if name == "depth" else 64, 2, 4) for name in TOWERS}, out=32, vocab=512)


@pytest.fixture
def words(golden: Path, tmp_path: Path) -> list[str]:
    """The command line for the tiny originals."""
    imagebind, sizes = tmp_path / "imagebind_tiny.pth", tmp_path / "sizes.json"
    torch.save(load_file(golden / "imagebind-tiny/weights.safetensors"), imagebind)
    sizes.write_text(json.dumps(SIZES.to_config()))
    tiny = golden / "pandagpt-tiny"
    files = {
        "--imagebind": imagebind,
        "--llm": tiny / "vicuna_tiny",
        "--delta": tiny / "pandagpt_ckpt/pytorch_model.pt",
        "--out": tmp_path / "panda-tiny",
        "--encoder-sizes": sizes,
    }
    return ["convert", *(str(word) for pair in files.items() for word in pair)]


def test_it_makes_a_folder_and_says_how_to_serve_it(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*words, "--dtype", "bfloat16"]) == 0
    out = tmp_path / "panda-tiny"
    assert read_model_folder(out).id == "panda-tiny"
    assert load_file(out / "adapter.safetensors")["projection.weight"].dtype is torch.bfloat16
    assert f"pandagpt serve --model {out}" in capsys.readouterr().out


def test_keys_that_do_not_match_are_listed_and_nothing_is_written(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = torch.load(tmp_path / "imagebind_tiny.pth", weights_only=True)
    weights["modality_trunks.vision.surprise"] = torch.zeros(1)
    torch.save(weights, tmp_path / "imagebind_tiny.pth")
    assert cli.main(words) == 2
    assert "pandagpt:   left over: modality_trunks.vision.surprise" in capsys.readouterr().err
    assert not (tmp_path / "panda-tiny").exists()


def test_an_existing_folder_is_never_overwritten(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "panda-tiny").mkdir()
    assert cli.main(words) == 2
    assert "never overwritten" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "complaint"), [("[", "--encoder-sizes: "), ('{"vision": 3}', "ImageBind's sizes: Expected `object`")]
)
def test_a_wrong_sizes_file_is_named(
    text: str, complaint: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sizes.json").write_text(text)
    assert cli.main(words) == 2
    assert complaint in capsys.readouterr().err
