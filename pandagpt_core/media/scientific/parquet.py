"""Parquet by pyarrow: the columns of numbers and times of a table, the others by name only.

A few bytes may stand for a billion rows, so rows and columns are checked before anything is decoded, and a file that
lies about them meets the child's limit of memory.
"""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.ndarrays import Float64Array

MAX_COLUMNS = 256
pa.set_cpu_count(1)
pa.set_io_thread_count(1)
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def columns(data: bytes, limits: Limits) -> dict[str, Float64Array]:
    """Float64 columns by their names. Times in their own unit become seconds. Raises InvalidMedia."""
    with decoding("Parquet file"):
        file = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False)
        check(file.metadata.num_rows, limits.imu_rows, "the recording", "rows")
        check(file.metadata.num_columns, MAX_COLUMNS, "the recording", "columns")
        names = [field.name for field in file.schema_arrow if _is_number(field.type)]
        if not names:
            raise InvalidMedia("the Parquet file holds no column of numbers")
        if len(set(names)) < len(names):
            raise InvalidMedia("two columns of the Parquet file have one name")
        read = file.read(columns=names, use_threads=False)
        return {_named(name, read.column(name).type): _column(read.column(name)) for name in names}


def _is_number(kind: pa.DataType) -> bool:
    return any(is_one(kind) for is_one in (pa.types.is_integer, pa.types.is_floating, pa.types.is_timestamp))


def _named(name: str, kind: pa.DataType) -> str:
    """A column of times has seconds as its unit."""
    return f"time {name} (s)" if pa.types.is_timestamp(kind) else name


def _column(chunks: pa.ChunkedArray) -> Float64Array:
    kind = chunks.type
    if pa.types.is_timestamp(kind):
        chunks, factor = chunks.cast(pa.int64()), _SECONDS[kind.unit]
        whole = chunks.to_numpy(zero_copy_only=False)  # integers, or floats with NaN where a time is missing
        return np.asarray((whole - np.nanmin(whole)) * factor, dtype=np.float64)
    values = np.asarray(chunks.to_numpy(zero_copy_only=False), dtype=np.float64)
    return np.where(np.isfinite(values), values, np.nan)
