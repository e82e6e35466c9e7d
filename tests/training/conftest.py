"""A tiny model folder of PandaGPT's kind, made pictures, and settings of a run over them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from accelerate.state import AcceleratorState
from PIL import Image

from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt
from pandagpt_core.encoders.sizes import TOWERS, ImageBindSizes, TowerSize
from pandagpt_core.training.tune.settings import TuneSettings, parse_tune_settings

SIZES = ImageBindSizes(**{name: TowerSize(48 if name == "depth" else 64, 2, 4) for name in TOWERS}, out=32, vocab=512)
COLOURS = ("red", "green", "blue", "white", "black", "yellow")


@pytest.fixture(scope="session")
def tiny_originals(golden: Path) -> PandaGPTOriginals:
    tiny = golden / "pandagpt-tiny"
    imagebind = golden / "imagebind-tiny" / "weights.safetensors"
    return PandaGPTOriginals(imagebind, tiny / "vicuna_tiny", tiny / "pandagpt_ckpt" / "pytorch_model.pt")


@pytest.fixture(scope="session")
def tiny_folder(tiny_originals: PandaGPTOriginals, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "tiny"
    convert_pandagpt(tiny_originals, out, PandaGPTOptions(model_id="tiny", sizes=SIZES, max_model_len=128))
    return out


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one-coloured pictures, and data.json with a conversation about each, every other of two turns."""
    folder = tmp_path_factory.mktemp("pictures")
    entries = []
    for index, colour in enumerate(COLOURS):
        Image.new("RGB", (32, 32), colour).save(folder / f"{colour}.png")
        turns = [("human", "What is it?"), ("gpt", f"It is {colour}.")]
        turns += [("human", "Are you sure?"), ("gpt", "Yes.")] if index % 2 else []
        conversation = [{"from": who, "value": value} for who, value in turns]
        entries.append({"image_name": f"{colour}.png", "conversation": conversation})
    (folder / "data.json").write_text(json.dumps(entries))
    return folder


Make = Callable[..., TuneSettings]


@pytest.fixture
def make_settings(tiny_folder: Path, pictures: Path, tmp_path: Path) -> Make:
    """Settings of a small run; a section's keys are changed by `train={...}` and the like."""

    def make(out: str = "run", **changes: dict[str, Any]) -> TuneSettings:
        sections: dict[str, dict[str, Any]] = {
            "data": {"files": [str(pictures / "data.json")], "media": str(pictures)},
            "features": {"cache": str(tmp_path / "features"), "threads": 1},
            "lora": {"r": 4, "alpha": 4, "dropout": 0.0},
            "train": {"batch": 4, "micro_batch": 2, "lr": 5e-3, "device": "cpu"},
            "output": {},
        }
        for name, section in changes.items():
            sections[name] |= section
        return parse_tune_settings({"model": str(tiny_folder), "out": str(tmp_path / out), **sections})

    return make


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Iterator[None]:
    """Reset accelerate's state, which is the process's; a run of other settings must not find it."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
