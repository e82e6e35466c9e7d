"""The whole recipe on a handful of made-up pictures and movements: a folder that loads, and the same one twice."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pandagpt_core.checkpoints import read_model_folder, verify_files
from pandagpt_core.perception.table import NameTable, read_name_table
from pandagpt_core.systems.encoder import load_encoder
from pandagpt_core.training.log import Log
from pandagpt_core.training.lora import LoraConfig
from pandagpt_core.types import Modality
from recipes.panda_mini.build import build
from recipes.panda_mini.calibration.fit import name_table
from recipes.panda_mini.config import DIM, BuildRecipe
from recipes.panda_mini.data.media import STYLES
from recipes.panda_mini.data.packages import PACKAGES
from recipes.panda_mini.export import llm_file
from recipes.panda_mini.job import BuildJob
from recipes.panda_mini.language.projection_lora import SpeechConfig
from recipes.panda_mini.language.reading_lora import ReadingConfig
from recipes.panda_mini.language.text_questions import TEXT_ONLY
from recipes.panda_mini.space.audio_depth_thermal import SensesConfig
from recipes.panda_mini.space.contrastive import AlignConfig
from recipes.panda_mini.space.towers import TowerConfig
from recipes.panda_mini.stages import language as stages
from recipes.panda_mini.stages.space import TOWERS

FEW = TowerConfig(steps=2, batch=2)
TINY = BuildRecipe(
    align=AlignConfig(steps=2, batch=4, classes=4),
    speech=SpeechConfig(batch=3, text_only=1, pictureless=1, base_tokens=2),
    lora=LoraConfig(r=2, alpha=2.0, warmup=0.0),
    speech_steps=1,
    reading=ReadingConfig(batch=2, pool=1, plain_tokens=2),
    reading_steps=1,
    motion=FEW,
    senses=SensesConfig(variants=1, maps=FEW),
)
# Sounds come of banks and the detector is published whole: neither is a toy.
SOUNDLESS = {name: make for name, make in TOWERS.items() if name not in ("audio", "things")}
SHAPES = ('<rect width="7" height="4"/>', '<circle cx="4" cy="4" r="3"/>', '<path d="M0 8 L8 8 L4 0"/>')
MOTIONS = ("standing", "walking", "running", "badminton")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Every package of the recipe: three pictures of concepts, one of nothing, four movements, and answers."""
    packages = tmp_path / "cache" / "packages"
    for package in PACKAGES:
        (packages / package.folder / "package" / "en").mkdir(parents=True)
        (packages / package.folder / "VERSION").write_text(f"{package.folder}-1.0\n")
    (packages / "emojibase-data" / "package" / "en" / "data.json").write_text("[]")
    drawn = dict(zip(("dog-face", "cat-face", "guitar", "roller-coaster"), (*SHAPES, SHAPES[0]), strict=True))
    icons = {slug: {"body": body} for slug, body in drawn.items()}
    for style in STYLES:
        said = {"width": 8, "height": 8, "icons": icons if style == "noto" else {}}
        (packages / f"iconify-json-{style}" / "package" / "icons.json").write_text(json.dumps(said))
    movements(packages / "aeon" / "aeon" / "datasets" / "data" / "BasicMotions")
    answers = {question: [28, 2] for question in TEXT_ONLY}
    (tmp_path / "cache" / f"base-answers-{TINY.speech.base_tokens}.json").write_text(json.dumps(answers))
    return tmp_path / "cache"


def movements(folder: Path) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = ["@data"]
    for name in MOTIONS:
        channels = [",".join(f"{cell:.3f}" for cell in rng.normal(size=100)) for _ in range(6)]
        lines.append(":".join([*channels, name.capitalize()]))
    (folder / "BasicMotions_TRAIN.ts").write_text("\n".join(lines) + "\n")


@pytest.fixture
def read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The language model's file takes seconds to read; every build has a copy of what was read first."""
    held = stages.load_llama(llm_file())
    monkeypatch.setattr(stages, "load_llama", lambda _file: copy.deepcopy(held))


@pytest.mark.filterwarnings("ignore:index_reduce")
@pytest.mark.usefixtures("read_once")
def test_every_stage_has_its_part_and_the_seed_decides_the_weights(cache: Path, tmp_path: Path) -> None:
    asked: list[Path] = []

    def examine(folder: Path, _cache: Path, _thin: int) -> dict[str, int]:
        asked.append(folder)
        return {"n": 1}

    outs = [tmp_path / name for name in ("once", "again")]
    counted: list[tuple[Path, int]] = []

    def calibrate(*given: Any) -> NameTable:
        return name_table([], given[-1], 20.0)

    for out in outs:
        job = BuildJob(cache, TINY, Log())
        build(job, out, SOUNDLESS, examine, calibrate, lambda *given: counted.append(given))
        for made in [*cache.glob("*.safetensors"), *cache.glob("*.npz")]:
            made.unlink()
    said = read_model_folder(outs[0])
    verify_files(outs[0], said)
    encoder = load_encoder(outs[0], said, "cpu")
    assert set(encoder.recipes) == set(said.recipes) == set(Modality) - {Modality.AUDIO, Modality.POINTS}
    assert encoder.encode(Modality.IMU, torch.zeros(1, 6, 2000)).shape == (1, DIM)
    assert said.perception is not None
    assert len(read_name_table(outs[0]).concepts) == said.projection.recall.directions
    assert asked == outs
    assert [folder for folder, _ in counted] == outs
    assert json.loads((outs[0] / "figures.json").read_text()) == {"n": 1}
    assert said.provenance["recipe"]["speech_steps"] == TINY.speech_steps
    for name in ("encoder.safetensors", "adapter.safetensors"):
        once, again = (load_file(out / name) for out in outs)
        assert once.keys() == again.keys()
        assert [key for key in once if not once[key].equal(again[key])] == []
