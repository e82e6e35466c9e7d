"""Reading the originals' pickled weights. Only the converter does so, and never with code execution."""

import pickle
from pathlib import Path

import torch

from pandagpt_core.errors import CheckpointError


def read_pickled(path: Path) -> dict[str, torch.Tensor]:
    """A .pth, .pt or .bin state dict: tensors only (`weights_only=True`), memory-mapped where the format allows it.

    Of a trainer's checkpoint, which holds more beside it, the state dict under "model" is taken (LAVIS's runner, so
    MiniGPT-v2's). Files of torch before 1.6 cannot be mapped and are read whole.
    """
    try:
        loaded = _load(path)
    except pickle.UnpicklingError as error:  # torch's own message advises to run whatever the file holds
        why = "it holds other objects, which are never loaded, since that could run a program"
        raise CheckpointError(f"{path.name} is not a file of tensors only: {why}") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path.name} is not a file of tensors only: it is damaged or cut short") from error
    if isinstance(loaded, dict) and isinstance(loaded.get("model"), dict):
        loaded = loaded["model"]
    if not isinstance(loaded, dict) or not all(_is_entry(*entry) for entry in loaded.items()):
        raise CheckpointError(f"{path.name} holds something else than a state dict of tensors")
    return {key: tensor.detach() for key, tensor in loaded.items()}


def _load(path: Path) -> object:
    loaded: object = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    return loaded


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _is_entry(key: object, value: object) -> bool:
    return isinstance(key, str) and isinstance(value, torch.Tensor)
