"""Results of a recipe's stage, kept in a file whose name has the numbers of the stage."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor


def kept(cache: Path, stage: str, numbers: object, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    """Read back what `make` made with equal `numbers` before, or make it now. numbers: anything whose repr holds all.

    The file is safetensors, and whole or absent.
    """
    path = cache / f"{stage}-{hashlib.sha256(repr(numbers).encode()).hexdigest()[:12]}.safetensors"
    if not path.exists():
        half = path.with_suffix(".half")
        save_file({name: tensor.detach().clone().contiguous() for name, tensor in make().items()}, half)
        half.replace(path)
    return load_file(path)
