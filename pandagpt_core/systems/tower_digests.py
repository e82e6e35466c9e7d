"""A name for the part of an encoder that embeds one modality, by the content of its weights.

Two folders seldom hold the same towers (a PandaGPT folder has no tower for point clouds, an ImageBind-LLM folder may
have one), so a digest over the whole encoder would let them share nothing. By modality they share what is equal.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from pandagpt_core.checkpoints import ENCODER, ModelFolder, file_path, read_tensors
from pandagpt_core.encoders.base import Encoder, tower_parts
from pandagpt_core.types import Modality

THREADS = 8  # hashing releases the interpreter lock


def tower_digests(path: Path, folder: ModelFolder, encoder: Encoder) -> dict[Modality, str]:
    """By modality: equal digests give equal rows for equal bytes. Empty for an encoder that states no parts.

    The weights are read from the folder's files as they are stored, before any change of their type.
    """
    parts = tower_parts(encoder, folder.recipes)
    files = [file_path(path, folder, ENCODER), *(path / name for name in folder.tower_files)]
    wanted = [part.holds for part in parts.values()]
    tensors = _tensor_digests(files, lambda key: any(holds(key) for holds in wanted))
    return {
        modality: _digest((folder.encoder.kind, folder.recipes[modality], part.facts, _of(tensors, part.holds)))
        for modality, part in parts.items()
    }


def _tensor_digests(files: list[Path], holds: Callable[[str], bool]) -> dict[str, str]:
    def read() -> Iterator[tuple[str, Tensor]]:
        for file in files:
            yield from read_tensors(file, unused=lambda key: not holds(key))

    with ThreadPoolExecutor(THREADS) as pool:
        return dict(pool.map(lambda found: (found[0], _tensor_digest(found[1])), read()))


def _tensor_digest(tensor: Tensor) -> str:
    content = hashlib.sha256(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return _digest((str(tensor.dtype), list(tensor.shape), content.hexdigest()))


def _of(tensors: Mapping[str, str], holds: Callable[[str], bool]) -> dict[str, str]:
    return {key: digest for key, digest in tensors.items() if holds(key)}


def _digest(content: object) -> str:
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()
