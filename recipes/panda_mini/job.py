"""One build of the small default model: where it keeps what, by which numbers, and the names of its data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from pandagpt_core.training.device import CPU
from pandagpt_core.training.log import Log
from recipes.panda_mini.config import BuildRecipe
from recipes.panda_mini.data import corpus
from recipes.panda_mini.data.media import Picture
from recipes.panda_mini.data.packages import PACKAGES
from recipes.panda_mini.stage_cache import kept

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class BuildJob:
    """One build: the folder of its downloads and results, its numbers, its log, and the device that trains."""

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
        """The stage's results; the device does not count among the numbers."""
        return kept(self.cache, stage, numbers, make)


def data_digest(cache: Path, thin: int) -> str:
    """Names the data: every picture that is trained on, and the versions of all packages."""
    packages = cache / "packages"
    versions = [(p.name, p.version(packages)) for p in PACKAGES if p.use == "train"]
    return corpus.digest(corpus.training_pictures(packages, thin)) + repr(versions)
