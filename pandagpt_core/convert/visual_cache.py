"""The original's cache of image features, a faiss index, as a safetensors file of a model folder."""

from dataclasses import dataclass
from pathlib import Path

import torch

from pandagpt_core.checkpoints import CACHE, CacheSpec, write_safetensors
from pandagpt_core.convert.parts import Progress
from pandagpt_core.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class CacheSource:
    """vectors [N, E] float32, mapped from the file where faiss can."""

    vectors: torch.Tensor

    @property
    def size(self) -> int:
        return self.vectors.numel() * self.vectors.element_size()

    @property
    def spec(self) -> CacheSpec:
        return CacheSpec(rows=len(self.vectors))


def open_cache(path: Path, width: int) -> CacheSource:
    """A flat index of inner products. Raises CheckpointError for another kind, width, or features that are not unit."""
    try:
        import faiss  # needed for this file alone
    except ImportError:
        raise CheckpointError(f"reading {path.name} needs faiss: pip install 'pandagpt[convert]'") from None
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
    except RuntimeError:
        raise CheckpointError(f"{path.name} is no faiss index") from None
    if not isinstance(index, faiss.IndexFlat) or index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise CheckpointError(f"{path.name} must be a flat index of inner products, it is {type(index).__name__}")
    if index.d != width or index.ntotal < 1:
        raise CheckpointError(f"{path.name} holds {index.ntotal} features of {index.d}; the encoder gives {width}")
    return CacheSource(torch.from_numpy(index.reconstruct_n(0, index.ntotal)))


def write_cache(folder: Path, cache: CacheSource, progress: Progress) -> dict[str, str]:
    """The file's SHA-256 by its name."""
    digest = write_safetensors(folder / CACHE, {"vectors": cache.vectors}, lambda _: cache.vectors)
    progress(cache.size)
    return {CACHE: digest}
