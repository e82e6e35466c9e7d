"""A training run of MiniGPT-v2 from a folder without a checkpoint: files in a stated mix, and the result is served."""

import json
from pathlib import Path

import pytest
from PIL import Image

from pandagpt_core.checkpoints import read_model_folder
from pandagpt_core.convert.minigpt_v2 import MiniGPTv2Options, MiniGPTv2Originals, convert_minigpt_v2
from pandagpt_core.encoders.eva_vit import EvaSizes
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.loading import load_model
from pandagpt_core.training.tune.record import read_log
from pandagpt_core.training.tune.run import train
from pandagpt_core.training.tune.settings import TuneSettings, parse_tune_settings, read_tune_settings

SIZES = EvaSizes(width=8, blocks=1, heads=2, mlp=16, patch=112)  # 16 patches of a picture, 4 rows


@pytest.fixture
def settings(golden: Path, tmp_path: Path) -> TuneSettings:
    """A tower of random weights, two pictures, a file for each of two tasks."""
    import torch

    from pandagpt_core.encoders.eva_vit import EvaVit

    torch.manual_seed(0)
    vit = EvaVit(SIZES, device="cpu")
    state = {name: torch.randn(p.shape) * 0.2 for name, p in vit.named_parameters() if "ln_vision" not in name}
    torch.save(state, tmp_path / "eva.pth")
    llm = golden / "minigpt-v2-tiny" / "llama2_tiny"
    convert_minigpt_v2(
        MiniGPTv2Originals(llm, tmp_path / "eva.pth"), tmp_path / "base", MiniGPTv2Options("base", SIZES)
    )
    for colour in ("red", "blue"):
        Image.new("RGB", (40, 30), colour).save(tmp_path / f"{colour}.png")
        said = [{"from": "human", "value": "[vqa] what colour"}, {"from": "gpt", "value": colour}]
        entries = [{"image": f"{colour}.png", "conversations": said}]
        (tmp_path / f"{colour}.json").write_text(json.dumps(entries))
    return parse_tune_settings(
        {
            "model": str(tmp_path / "base"),
            "out": str(tmp_path / "run"),
            "data": {
                "files": [str(tmp_path / "red.json"), str(tmp_path / "blue.json")],
                "media": str(tmp_path),
                "ratios": [3, 1],
            },
            "features": {"cache": str(tmp_path / "features")},
            "lora": {"r": 4, "alpha": 1, "dropout": 0.0, "targets": ["q_proj", "v_proj"]},
            "train": {"batch": 4, "micro_batch": 2, "max_steps": 30, "lr": 0.02, "schedule": "cosine", "device": "cpu"},
            "output": {"id": "trained"},
        }
    )


def test_a_run_lowers_the_loss_and_its_folder_is_served(settings: TuneSettings) -> None:
    result = train(settings)
    losses = [line["loss"] for line in read_log(Path(settings.out))]
    assert losses[-1] < 0.5 * losses[0]
    folder = read_model_folder(result.written["model"])
    assert (folder.system, folder.id) == ("minigpt-v2", "trained")
    assert load_model(result.written["model"]).info.id == "trained"


def test_two_pictures_of_a_conversation_are_named_as_a_fault(settings: TuneSettings, tmp_path: Path) -> None:
    entries = json.loads((tmp_path / "red.json").read_text())
    entries[0]["media"] = [{"modality": "image", "file": "blue.png"}]
    (tmp_path / "red.json").write_text(json.dumps(entries))
    with pytest.raises(InvalidRequest, match="it has 2 pictures; this system learns from one at a time"):
        train(settings)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_the_papers_stages_are_configurations_of_this_trainer(root: Path, stage: int) -> None:
    settings = read_tune_settings(root / "recipes" / "minigpt_v2" / f"stage{stage}.toml")
    assert (settings.lora.r, settings.lora.targets, settings.train.schedule) == (64, ("q_proj", "v_proj"), "cosine")
    weak = [ratio for file, ratio in zip(settings.data.files, settings.data.ratios, strict=True) if "weak" in file]
    assert bool(sum(weak)) == (stage == 1)
    assert settings.lora.start == ("fresh" if stage == 1 else "folder")


def test_ratios_are_one_for_each_file() -> None:
    with pytest.raises(InvalidRequest, match=r"data\.ratios has 1 numbers for 2 files"):
        parse_tune_settings({"model": "m", "out": "o", "data": {"files": ["a", "b"], "ratios": [1]}})
