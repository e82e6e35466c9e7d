"""Recordings as named arrays, as MATLAB and HDF5 hold them: a matrix a sensor, a vector a channel, or six columns."""

from collections.abc import Mapping

import numpy as np

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.media.motion.names import understand
from pandagpt_core.media.motion.recording import COLUMNS, Recording, of_table
from pandagpt_core.media.motion.stated import RATE_NAMES, StatedRate, Units
from pandagpt_core.media.motion.table import Table
from pandagpt_core.media.motion.units import ACCELEROMETER, GYROSCOPE
from pandagpt_core.ndarrays import AnyArray, Float64Array


def of_arrays(arrays: Mapping[str, AnyArray], limits: Limits, units: Units) -> Recording:
    """Raises InvalidMedia where the columns have several lengths, and as `of_table`."""
    columns: dict[str, Float64Array] = {}
    for name, array in arrays.items():
        columns |= _columns(name, np.asarray(array, dtype=np.float64))
    if not columns:
        raise InvalidMedia(f"no array of the recording has a row a sample; it holds {', '.join(_shapes(arrays))}")
    lengths = sorted({len(column) for column in columns.values()})
    check(lengths[-1], limits.imu_rows, "the recording", "rows")
    if len(lengths) > 1:
        raise InvalidMedia(f"the arrays of the recording have {', '.join(map(str, lengths))} rows; they must agree")
    nameless = len(columns) == COLUMNS and all(name.startswith(" ") for name in columns)
    return of_table(Table(() if nameless else tuple(columns), tuple(columns.values()), _rates(arrays)), units)


def _columns(name: str, array: Float64Array) -> dict[str, Float64Array]:
    """A sensor's matrix as x, y, z; six columns under blank names; a vector as itself; nothing of anything else."""
    flat = array.reshape([side for side in array.shape if side > 1] or [1])
    if flat.ndim == 1:
        return {name: flat} if flat.size > 1 else {}
    if flat.ndim != 2:
        return {}
    rows = flat if flat.shape[1] in (3, COLUMNS) else flat.T
    if rows.shape[1] == COLUMNS:
        return {f" {index}": column for index, column in enumerate(rows.T)}
    if rows.shape[1] == 3 and understand(f"{name} x").kind in (ACCELEROMETER, GYROSCOPE):
        return {f"{name} {axis}": column for axis, column in zip("xyz", rows.T, strict=True)}
    return {}


def _rates(arrays: Mapping[str, AnyArray]) -> tuple[StatedRate, ...]:
    found = (array for name, array in arrays.items() if name.lower() in RATE_NAMES and array.size == 1)
    return tuple(StatedRate(float(array.ravel()[0]), "the rate in the recording") for array in found)


def _shapes(arrays: Mapping[str, AnyArray]) -> list[str]:
    return [" by ".join(map(str, array.shape)) for array in list(arrays.values())[:8]]
