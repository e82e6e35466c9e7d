"""The original's cache of image features, a faiss index, as a safetensors file of a model folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from pandagpt_core.checkpoints import CACHE, CacheSpec, write_pieces
from pandagpt_core.convert.parts import ByteProgress
from pandagpt_core.errors import CheckpointError

ROWS_AT_ONCE = 16_384
NOT_ONE = 1e-2  # by how much a unit feature's length may be off: half precision's rounding is within


class FlatIndex(Protocol):
    """The used part of faiss's `IndexFlat`."""

    ntotal: int
    d: int

    def reconstruct_n(self, first: int, count: int) -> np.ndarray: ...


@dataclass(frozen=True, slots=True)
class CacheSource:
    """A mapped index, whose rows [N, E] float32 are read in stretches."""

    index: FlatIndex

    @property
    def layout(self) -> dict[str, torch.Tensor]:
        return {"vectors": torch.empty(self.index.ntotal, self.index.d, device="meta")}

    @property
    def size(self) -> int:
        return self.index.ntotal * self.index.d * 4

    @property
    def spec(self) -> CacheSpec:
        return CacheSpec(rows=self.index.ntotal)

    def rows(self) -> Iterator[np.ndarray]:
        """Raises CheckpointError for a row that is not of length one."""
        for first in range(0, self.index.ntotal, ROWS_AT_ONCE):
            rows = self.index.reconstruct_n(first, min(ROWS_AT_ONCE, self.index.ntotal - first))
            lengths = np.linalg.norm(rows, axis=1)
            wrong = np.flatnonzero(~(np.abs(lengths - 1) < NOT_ONE))
            if wrong.size:
                at = int(wrong[0])
                raise CheckpointError(f"feature {first + at} of the cache has length {lengths[at]:.4g}, not 1")
            yield rows


def open_cache(path: Path, width: int) -> CacheSource:
    """A flat index of inner products. Raises CheckpointError for another kind or width."""
    try:
        import faiss  # needed for this file alone
    except ImportError:
        raise CheckpointError(f"reading {path.name} needs faiss: pip install -e '.[convert]'") from None
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)  # the one flag that maps a flat index
    except RuntimeError:
        raise CheckpointError(f"{path.name} is no faiss index") from None
    if not isinstance(index, faiss.IndexFlat) or index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise CheckpointError(f"{path.name} must be a flat index of inner products, it is {type(index).__name__}")
    if index.d != width or index.ntotal < 1:
        raise CheckpointError(f"{path.name} holds {index.ntotal} features of {index.d}; the encoder gives {width}")
    return CacheSource(index)


def write_cache(folder: Path, cache: CacheSource, progress: ByteProgress) -> dict[str, str]:
    """The file's SHA-256 by its name."""

    def pieces() -> Iterator[bytes]:
        for rows in cache.rows():
            yield rows.astype("<f4", copy=False).tobytes()
            progress(rows.nbytes)

    return {CACHE: write_pieces(folder / CACHE, cache.layout, pieces())}
