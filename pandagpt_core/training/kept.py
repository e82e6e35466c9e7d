"""What a stage of a recipe made, kept in a file that is named by the numbers it was made with."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

Made = TypeVar("Made")


def kept(cache: Path, stage: str, numbers: object, make: Callable[[], Made]) -> Made:
    """Read back what `make` made with equal `numbers` before, or make it now. numbers: anything whose repr tells all.

    The file is whole or absent. It is read by pickle: nobody else may write to the cache.
    """
    path = cache / f"{stage}-{hashlib.sha256(repr(numbers).encode()).hexdigest()[:12]}.pt"
    if path.exists():
        found: Made = torch.load(path, weights_only=False)
        return found
    made = make()
    half = path.with_suffix(".half")
    torch.save(made, half)
    half.replace(path)
    return made
