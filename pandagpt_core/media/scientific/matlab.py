"""MATLAB files of version 5 (up to 7.2), by scipy. Objects and functions in them are passed over, not made."""

import io
from collections.abc import Iterable, Mapping

import numpy as np
from scipy.io import loadmat, whosmat

from pandagpt_core.ndarrays import AnyArray

_NUMERIC = frozenset(
    {"double", "single", "logical", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}
)


def listed(data: bytes) -> Iterable[tuple[str, tuple[int, ...]]]:
    return [(name, shape) for name, shape, kind in whosmat(io.BytesIO(data)) if kind in _NUMERIC]


def read(data: bytes, names: list[str]) -> Mapping[str, AnyArray]:
    found = loadmat(io.BytesIO(data), variable_names=names, verify_compressed_data_integrity=True)
    return {name: np.asarray(found[name]) for name in names if name in found}
