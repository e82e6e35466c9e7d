"""Checks of a file of weights before its numbers are used; an error is one sentence with file and key."""

import zipfile
from pathlib import Path

import torch

from pandagpt_core.checkpoints.weights import cast
from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.tokenizers.pointers import check_no_pointer

_MASK = ".mask"
_LEAST_NORM = 0.05  # mean size of a final norm's weights; a model's are near 1, the difference of two models' near 0


def check_file(path: Path) -> None:
    """Raise CheckpointError for a pointer in place of the file, a page in place of it, and a zip whose sums fail."""
    check_no_pointer(path)
    with path.open("rb") as file:
        head = file.read(64)
    if head.lstrip()[:1] == b"<":
        raise CheckpointError(f"{path.name} is a web page, not the file: its download was refused")
    if head.startswith(b"PK\x03\x04"):
        _check_zip(path)


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError):
        raise CheckpointError(f"{path.name} is damaged or cut short: its zip archive cannot be read") from None
    if broken is not None:
        entry = broken.rpartition("/")[2]
        raise CheckpointError(f"{path.name} is damaged: the checksum of its entry {entry} fails")


def check_type(path: Path, key: str, tensor: torch.Tensor) -> None:
    """Integers of more than one number are no weights; a counter (of batch normalisation) is a scalar."""
    if tensor.ndim and not tensor.dtype.is_floating_point:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise CheckpointError(f"{path.name}: {key} holds {kind}; weights are floating-point numbers")


def check_values(path: Path, key: str, tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    """The tensor in `dtype`. Raises CheckpointError for NaN, infinity and what the type cannot hold."""
    if key.endswith(_MASK):  # of attention, minus infinity by design
        return cast(tensor, dtype)
    if not _finite(tensor):
        raise CheckpointError(f"{path.name}: {key} holds NaN or infinity")
    made = cast(tensor, dtype)
    if made.dtype != tensor.dtype and not _finite(made):
        kind = str(made.dtype).removeprefix("torch.")
        raise CheckpointError(f"{path.name}: {key} holds numbers that {kind} cannot; convert with another dtype")
    return made


def _finite(tensor: torch.Tensor) -> bool:
    """Without a second tensor of the size: both ends of a tensor with NaN are NaN."""
    return not tensor.numel() or all(bool(torch.isfinite(end)) for end in torch.aminmax(tensor))


def check_not_a_delta(path: Path, key: str, tensor: torch.Tensor) -> None:
    """Vicuna's first versions were published as differences from LLaMA's weights."""
    if is_delta(tensor):
        size = float(tensor.float().abs().mean())
        raise CheckpointError(
            f"{path.name}: {key} is near zero (mean size {size:.2g}): this is a delta, as Vicuna's first versions were "
            "published; `pandagpt fetch` applies it to LLaMA's weights, FastChat's apply_delta does too"
        )


def is_delta(final_norm: torch.Tensor) -> bool:
    """Whether the weights of a model's last norm are those of a difference of two models."""
    return float(final_norm.float().abs().mean()) < _LEAST_NORM
