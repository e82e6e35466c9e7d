"""The stages of the build that make the space of pictures and the towers of the other media beside it."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial

import torch

from pandagpt_core.encoders.mini.towers import SignalTower
from pandagpt_core.encoders.mini.trunk import EfficientNetLite0
from recipes.panda_mini.concepts import load_concepts
from recipes.panda_mini.config import DIM, SIZES
from recipes.panda_mini.data import corpus
from recipes.panda_mini.data.centernet import load_centernet
from recipes.panda_mini.data.motion import recordings, varied_window
from recipes.panda_mini.job import BuildJob, State
from recipes.panda_mini.space.audio_depth_thermal import train_maps, train_sound
from recipes.panda_mini.space.embedding_space import Space, build_space, make_keys, rows_of, text_table
from recipes.panda_mini.space.towers import Items, align_tower

Make = Callable[[Space, BuildJob], State]  # a tower beside the space of pictures
_FEW = 64  # pictures that are not worth the start of a process


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
