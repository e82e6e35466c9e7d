"""GRIT's samples (Peng et al. 2023, Kosmos-2) as they are published and as downloaders leave them.

Parquet files, which are the data set's own, read in batches by pyarrow; tar shards of a webdataset; the .json files of
an unpacked shard; JSON lines; or a folder of any of them. Each sample has `caption`, `noun_chunks` and `key`, or `id`.
"""

import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pandagpt_core.errors import InvalidRequest

_COLUMNS = ("key", "id", "caption", "noun_chunks")
_ROWS = 4096  # of a parquet file in memory at once


def grit_samples(path: Path) -> Iterator[dict[str, Any]]:
    """In the order of the files' names. Raises InvalidRequest for a file that cannot be opened or read."""
    files = sorted(one for one in path.iterdir() if one.suffix in _FORMATS) if path.is_dir() else [path]
    for file in files:
        try:
            for sample in _FORMATS.get(file.suffix, _lines)(file):
                yield _keyed(sample)
        except (OSError, tarfile.TarError) as error:
            raise InvalidRequest(f"{file.name} cannot be read: {error}") from None


def _keyed(sample: dict[str, Any]) -> dict[str, Any]:
    return sample if sample.get("key") is not None else {**sample, "key": sample["id"]}


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:  # the extra `parquet`, which nothing else needs
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise InvalidRequest(f"{path.name} is read by pyarrow: pip install -e '.[parquet]'") from None
    try:
        with ParquetFile(path) as file:
            columns = [name for name in _COLUMNS if name in file.schema_arrow.names]
            for batch in file.iter_batches(_ROWS, columns=columns):
                yield from batch.to_pylist()
    except ArrowException as error:
        raise InvalidRequest(f"{path.name} is no parquet file: {error}") from None


def _tar(path: Path) -> Iterator[dict[str, Any]]:
    """A shard of a webdataset: of each sample the member that ends in .json; the pictures stay where they are."""
    with tarfile.open(path) as shard:
        for member in shard:
            held = shard.extractfile(member) if member.name.endswith(".json") else None
            if held is not None:
                yield {"key": Path(member.name).stem, **json.load(held)}


def _json(path: Path) -> Iterator[dict[str, Any]]:
    yield {"key": path.stem, **json.loads(path.read_text(encoding="utf-8"))}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file if line.strip())


_FORMATS: Mapping[str, Callable[[Path], Iterator[dict[str, Any]]]] = MappingProxyType(
    {".parquet": _parquet, ".tar": _tar, ".json": _json, ".jsonl": _lines}
)
