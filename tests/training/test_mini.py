"""The recipe of the small default: every stage has its part in the weights, and `make mini` runs it."""

import re
from importlib.util import find_spec
from pathlib import Path

import torch

from pandagpt_core.encoders.mini import MiniEncoder
from pandagpt_core.training.export import export
from pandagpt_core.training.lora import LoraConfig
from pandagpt_core.training.mini import SIZES, TOWERS, Recipe, provenance


def test_make_mini_runs_a_module_that_is_there(root: Path) -> None:
    [module] = re.findall(r"-m (pandagpt_core\.training\S*)", (root / "Makefile").read_text())
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    assert 'if __name__ == "__main__":' in Path(spec.origin).read_text()


def test_every_tower_of_the_weights_is_made_by_a_stage() -> None:
    assert {"image", "text", *TOWERS} == SIZES["towers"].keys()


def test_the_provenance_names_what_was_trained_on_and_every_number() -> None:
    said = provenance(Recipe())
    assert said["command"] == "python -m pandagpt_core.training.mini"
    assert {"openclipart-png", "fluid-soundfont-gm"} <= {package["name"] for package in said["data"]}
    assert "timgm6mb-soundfont" not in {package["name"] for package in said["data"]}
    assert said["recipe"]["speech"]["sharpness"] == Recipe().speech.sharpness


def test_an_exported_folder_says_how_it_recalls(tmp_path: Path) -> None:
    encoder = MiniEncoder({"dim": 8, "towers": {"imu": {**SIZES["towers"]["imu"], "width": 8}}})
    adapter = {
        "projection.weight": torch.ones(6, 8),
        "projection.bias": torch.zeros(6),
        "projection.recall": torch.eye(8)[:3],
    }
    sizes = {"dim": 8, "towers": {"imu": {**SIZES["towers"]["imu"], "width": 8}}}
    made = export(tmp_path, encoder.state_dict(), sizes, adapter, LoraConfig(), 20.0, {}, 0)
    assert made.projection.recall is not None
    assert (made.projection.recall.directions, made.projection.recall.sharpness) == (3, 20.0)
