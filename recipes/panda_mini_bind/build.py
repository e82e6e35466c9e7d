"""The recipe of models/panda-mini-bind, in order: `python -m recipes.panda_mini_bind.build`.

fetch packages -> features of the training pictures, by panda-mini's own encoder -> states of the captions below the
layers that get the vector -> bind network, prefix queries and gates -> with `--tune` the second phase: norms, biases
and LoRA -> model folder -> figures and card. The results of a stage are kept under the cache folder, and the training
goes on where it was interrupted. `--quick` runs all of it in minutes, to weights of no use, into a folder of its own.
"""

import argparse
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pandagpt_core.checkpoints import CacheSpec
from pandagpt_core.encoders.mini.points import PointTower
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.training.log import Log
from pandagpt_core.training.tune.bind_model import TrainableBind
from pandagpt_core.training.tune.model import cast_frozen
from recipes.panda_mini.concepts import Concept, load_concepts
from recipes.panda_mini.data import corpus
from recipes.panda_mini.data.media import Picture
from recipes.panda_mini.data.packages import PACKAGES, fetch_all
from recipes.panda_mini.export import llm_file
from recipes.panda_mini.language.base_answers import base_answers
from recipes.panda_mini.language.text_questions import TEXT_ONLY
from recipes.panda_mini.space.towers import TowerConfig
from recipes.panda_mini.stage_cache import kept
from recipes.panda_mini_bind.captions import CaptionIds, FeatureDraw
from recipes.panda_mini_bind.config import QUICK, BindRecipe, TuneConfig
from recipes.panda_mini_bind.evaluate import EVERY, measure, points, write
from recipes.panda_mini_bind.export import export
from recipes.panda_mini_bind.features import PictureFeatures, directions, picture_features
from recipes.panda_mini_bind.instructions import instructions
from recipes.panda_mini_bind.lower_layers import all_states
from recipes.panda_mini_bind.points.meshes import FURNITURE, named_meshes, split
from recipes.panda_mini_bind.points.train import PointSizes, train_points
from recipes.panda_mini_bind.training import BindLoss, fresh_bind, names_of, train_bind
from recipes.panda_mini_bind.tuning import InstructionDraw, states_below, tunable, tune_bind

DEFAULT = Path("models/panda-mini")
_PICTURES = ("icons", "names and tags of icons", "clip art", "names of the ImageNet classes", FURNITURE.holds)
Examine = Callable[[Path], Mapping[str, Any]]  # figures of a folder


@dataclass(frozen=True, slots=True)
class BindJob:
    """default: the model folder whose towers are used. cache: the folder of downloads and results."""

    recipe: BindRecipe
    default: Path
    cache: Path
    log: Log


def main(said: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cache", type=Path, default=Path(".cache/mini"))
    parser.add_argument("--out", type=Path, help="models/panda-mini-bind, or with --quick models/quick-bind")
    parser.add_argument("--quick", action="store_true", help="a few steps of each stage on a few of the pictures")
    parser.add_argument("--tune", action="store_true", help="the second phase too; --quick runs it anyway")
    asked = parser.parse_args(said)
    packages = asked.cache / "packages"
    fetch_all(packages, (*PACKAGES, FURNITURE))
    recipe = QUICK if asked.quick else BindRecipe(tuning=TuneConfig() if asked.tune else None)
    out = asked.out or DEFAULT.with_name("quick-bind" if asked.quick else "panda-mini-bind")
    job = BindJob(recipe, DEFAULT, asked.cache, Log(asked.cache / "bind.jsonl"))
    build(job, corpus.training_pictures(packages, recipe.thin), out, lambda folder: figures_of(job, folder))


def build(job: BindJob, pictures: Sequence[Picture], out: Path, examine: Examine) -> None:
    """Every stage; `out` must lie beside the default's folder, whose encoder it names. examine: its figures."""
    features = features_of(job, pictures)
    model = tuned(job, features, trained(job, features))
    how, tower = CacheSpec(rows=len(features.vectors)), point_tower(job)
    export(out, job.default, model, features.vectors, tower, how, provenance(job), _now())
    write(out, examine(out))
    job.log("done", out=str(out))


def figures_of(job: BindJob, folder: Path) -> dict[str, Any]:
    held_out = split(named_meshes(job.cache / "packages"))[1]
    return {**measure(folder, job.default, job.cache, EVERY * job.recipe.thin), **points(folder, held_out)}


def point_tower(job: BindJob) -> PointTower:
    """Trained on the meshes that are not held out."""
    config, bank = job.recipe.points, directions(job.default)

    def make() -> dict[str, Tensor]:
        meshes, _ = split(named_meshes(job.cache / "packages"))
        names = [one.name for one in load_concepts()]
        return dict(train_points(meshes, names, bank, PointSizes(), config, job.log).state_dict())

    tower = PointTower(bank.shape[1], **asdict(PointSizes()))
    tower.load_state_dict(dict(kept(job.cache, "bind-points", (PointSizes(), config), make)))
    return tower.eval()


def features_of(job: BindJob, pictures: Sequence[Picture]) -> PictureFeatures:
    """Of those that show a concept."""
    named = [one for one in pictures if 0 <= one.concept < len(concepts_of(job))]
    return picture_features(named, job.default, job.recipe.seed, job.cache, job.log)


def trained(job: BindJob, features: PictureFeatures) -> TrainableBind:
    """The bind network, queries and gates."""
    recipe, config, file = job.recipe, job.recipe.training, llm_file()
    concepts, tokenizer, known = concepts_of(job), load_tokenizer(file), known_directions(job)
    llm, captions = load_llama(file), CaptionIds.of(tokenizer, concepts)
    model = fresh_bind(llm, names_of(llm, tokenizer, [one.name for one in concepts]), known, config)
    cast_frozen(llm, torch.bfloat16)
    count = llm.config.layers - config.layers
    made = kept(
        job.cache,
        "bind-states",
        (captions, count, file.name),
        lambda: all_states(llm, count, captions.prompts, captions.answers),
    )
    states = [[made[f"{at}.{which}"] for which in range(len(every))] for at, every in enumerate(captions.answers)]
    draw = FeatureDraw(features.vectors, known, recipe.draw).draw
    train_bind(BindLoss.of(model, captions, states, config.common), draw, config, _state_file(job, features), job.log)
    return model


def tuned(job: BindJob, features: PictureFeatures, model: TrainableBind) -> TrainableBind:
    """After the second phase, where the recipe has it."""
    config = job.recipe.tuning
    if config is None:
        return model
    file, known = llm_file(), known_directions(job)
    questions = TEXT_ONLY[:: len(TEXT_ONLY) // config.plain][: config.plain]
    plain = base_answers(file, questions, config.text_tokens, job.cache)
    pool = instructions(load_tokenizer(file), concepts_of(job), plain, config)
    count = model.llm.config.layers - model.prefix.layers
    states = kept(job.cache, "bind-below", (pool, count, file.name), lambda: states_below(model.llm, count, pool))
    drawn = InstructionDraw(pool, states, FeatureDraw(features.vectors, known, config.draw), config)
    second = tunable(model, config)
    tune_bind(second, drawn, pool, config, _state_file(job, features, "tuned"), job.log)
    return second


def concepts_of(job: BindJob) -> tuple[Concept, ...]:
    return load_concepts()[: job.recipe.concepts]


def known_directions(job: BindJob) -> Tensor:
    """[C, E] of the recipe's concepts."""
    return directions(job.default)[: job.recipe.concepts]


def provenance(job: BindJob) -> dict[str, Any]:
    """The making, as config.json states it: the pictures' packages, and the numbers of the recipe."""
    used = [package for package in (*PACKAGES, FURNITURE) if package.use == "train" and package.holds in _PICTURES]
    return {
        "command": "python -m recipes.panda_mini_bind.build",
        "towers": job.default.name,
        "data": [one.provenance(job.cache / "packages") for one in used],
        "recipe": asdict(job.recipe),
    }


def _state_file(job: BindJob, features: PictureFeatures, phase: str = "bind") -> Path:
    """Of a training: named by all that decides it but its length, so that a longer one goes on from a shorter.

    The second phase depends on how long the first was.
    """
    recipe = replace(job.recipe, points=TowerConfig())
    if phase == "bind":
        endless = replace(recipe, training=replace(recipe.training, steps=0, keep_every=0), tuning=None)
    else:
        assert recipe.tuning is not None
        endless = replace(recipe, tuning=replace(recipe.tuning, steps=0, keep_every=0))
    decisive = repr((endless, features.vectors.shape)).encode()
    return job.cache / f"{phase}-{hashlib.sha256(decisive).hexdigest()[:12]}.safetensors"


def _now() -> int:
    return int(time.time())


if __name__ == "__main__":
    main()
