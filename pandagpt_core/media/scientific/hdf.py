"""HDF5 by h5py, from memory: MATLAB's version 7.3 too, whose arrays lie with their axes turned round.

Links to other files and filters of other libraries would open files, which a decoding child cannot.
"""

import io
from collections import Counter
from collections.abc import Iterable, Mapping

import h5py
import numpy as np

from pandagpt_core.media.scientific.arrays import MAX_VARIABLES
from pandagpt_core.ndarrays import AnyArray

_MATLAB = "MATLAB_class"  # an attribute of each array that MATLAB writes


def listed(data: bytes) -> Iterable[tuple[str, tuple[int, ...]]]:
    with h5py.File(io.BytesIO(data), "r") as file:
        return [(name, one.shape) for name, one in _datasets(file)]


def read(data: bytes, names: list[str]) -> Mapping[str, AnyArray]:
    with h5py.File(io.BytesIO(data), "r") as file:
        wanted = set(names)
        return {name: _array(one) for name, one in _datasets(file) if name in wanted}


def _datasets(file: h5py.File) -> list[tuple[str, h5py.Dataset]]:
    """Numeric arrays of the file and of its groups; hard links alone.

    The name of an array is the last part of its path ("x" of "acc/x"); where several end alike, the whole path with
    blanks ("acc x", "gyro x"), as the columns of a table are named.
    """
    found: list[tuple[str, h5py.Dataset]] = []

    def visit(path: str, one: object) -> bool | None:
        if isinstance(one, h5py.Dataset) and one.dtype.kind in "iufb" and one.shape is not None and not one.is_virtual:
            found.append((path, one))
        return True if len(found) > MAX_VARIABLES else None

    file.visititems(visit)
    alike = Counter(_last(path) for path, _ in found)
    named = [(path.replace("/", " ") if alike[_last(path)] > 1 else _last(path), one) for path, one in found]
    return [pair for pair in named if pair[1].external is None]


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _array(dataset: h5py.Dataset) -> AnyArray:
    array = np.asarray(dataset[()])
    return array.T if _MATLAB in dataset.attrs else array
