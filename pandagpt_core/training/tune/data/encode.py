"""Media files into kept features: read and decoded in threads, encoded in batches, each process its share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
from torch import Tensor

from pandagpt_core.errors import PandaGPTError
from pandagpt_core.media import Limits, digest, load
from pandagpt_core.training.tune.data.features import FeatureStore, MediumFeatures, mark_of
from pandagpt_core.training.tune.data.samples import Medium
from pandagpt_core.types import Modality

# Recipe arrays of one modality in; [N, E] or [N, n, E] out, or N of what a resampler reads.
Encode = Callable[[Modality, Sequence[np.ndarray]], Tensor | Sequence[MediumFeatures]]
SHARD_BYTES = 256 << 20  # of one file: a run that is cut off may have to encode them again


@dataclass(frozen=True, slots=True)
class Source:
    """The media's folder and the encoder's recipes; the numbers of threads and of media that they prepare at a time."""

    folder: Path
    recipes: Mapping[Modality, str]
    threads: int = 4
    batch: int = 32


@dataclass(frozen=True, slots=True)
class EncodeOutcome:
    """The key of each medium, or what is wrong with it."""

    keys: dict[Medium, str] = field(default_factory=dict)
    problems: dict[Medium, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Looked:
    """A medium's key and mark; its array where it must be encoded; or its problem."""

    medium: Medium
    key: str = ""
    mark: str = ""
    array: np.ndarray | None = None
    problem: str | None = None


def encode_all(
    media: Sequence[Medium],
    source: Source,
    store: FeatureStore,
    open_encoder: Callable[[], Encode],
    process: int = 0,
    advance: Callable[[int], object] = lambda _count: None,
) -> EncodeOutcome:
    """See that the store has every medium that can be read. The encoder is opened only if one is missing.

    `process` names this process among those that share the store, `advance` is called with the media as they are done.
    """
    outcome, marks, pending = EncodeOutcome(), dict[str, str](), dict[str, Tensor]()
    encode: Encode | None = None
    with ThreadPoolExecutor(source.threads) as pool:
        for group in _groups(media, source.batch):
            looked = list(pool.map(lambda medium: _look(medium, source, store), group))
            fresh = {one.key: one for one in looked if one.array is not None and one.key not in pending}
            if fresh:
                encode = encode or open_encoder()
                pending |= _encoded(encode, list(fresh.values()))
            outcome.problems.update({one.medium: one.problem for one in looked if one.problem is not None})
            outcome.keys.update({one.medium: one.key for one in looked if one.problem is None})
            marks |= {one.mark: one.key for one in looked if one.problem is None}
            if sum(rows.nbytes for rows in pending.values()) >= SHARD_BYTES:
                store.write(pending)
                pending = {}
            advance(len(group))
    store.write(pending)
    store.write_seen(marks, process)
    return outcome


def _look(medium: Medium, source: Source, store: FeatureStore) -> _Looked:
    recipe = source.recipes.get(medium.modality)
    if recipe is None:
        takes = ", ".join(source.recipes) or "none"
        return _Looked(medium, problem=f"the encoder takes no {medium.modality}; it takes {takes}")
    path, params = source.folder / medium.file, dict(medium.params)
    try:
        mark = mark_of(path, f"{medium.modality}|{recipe}|{medium.params}")
        key = store.seen(mark)
        if key is not None:
            return _Looked(medium, key, mark)
        data = path.read_bytes()
        key = digest(data, medium.modality, recipe, params)
        array = None if key in store else load(recipe, data, params, Limits())
    except OSError as error:
        return _Looked(medium, problem=error.strerror or type(error).__name__)
    except PandaGPTError as error:
        return _Looked(medium, problem=error.message)
    return _Looked(medium, key, mark, array)


def _encoded(encode: Encode, fresh: Sequence[_Looked]) -> dict[str, Tensor]:
    """Vectors by key; the encoder sees one modality at a time."""
    vectors: dict[str, Tensor] = {}
    ordered = sorted(fresh, key=lambda one: one.medium.modality)
    for modality, group in groupby(ordered, key=lambda one: one.medium.modality):
        ones = list(group)
        rows = encode(modality, [one.array for one in ones if one.array is not None])
        for one, row in zip(ones, rows, strict=True):
            vectors |= row.named(one.key) if isinstance(row, MediumFeatures) else {one.key: row.float().cpu()}
    return vectors


def _groups(media: Sequence[Medium], size: int) -> Iterator[Sequence[Medium]]:
    for start in range(0, len(media), size):
        yield media[start : start + size]
