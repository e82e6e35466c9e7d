"""MATLAB and HDF5 files as arrays by name: the numeric ones, within the limits; the rest is passed over."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Protocol

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.media.scientific.magic import is_hdf
from pandagpt_core.ndarrays import AnyArray

MAX_VARIABLES = 256
_HOME = "pandagpt_core.media.scientific"


class FormatReader(Protocol):
    """A module of this package for one format."""

    def listed(self, data: bytes) -> Iterable[tuple[str, tuple[int, ...]]]:
        """Name and shape of each numeric array, by the file's heads alone."""
        ...

    def read(self, data: bytes, names: list[str]) -> Mapping[str, AnyArray]:
        """The arrays of these names."""
        ...


def named_arrays(data: bytes, limits: Limits) -> Mapping[str, AnyArray]:
    """Real numbers and truth values of at most 64 bits, by name. Raises InvalidMedia where there are none."""
    kind, module = ("HDF5 file", "hdf") if is_hdf(data) else ("MATLAB file", "matlab")
    reader = library(module, kind)
    with decoding(kind):
        names, shapes = _listed(reader, data)
        check(len(names), MAX_VARIABLES, f"the {kind}", "arrays")
        check(sum(map(_elements, shapes)), limits.elements, f"the {kind}", "elements")
        if len(set(names)) < len(names):  # a reader would decode both and keep one
            raise InvalidMedia(f"two arrays of the {kind} have the same name")
        found = {name: array for name, array in reader.read(data, names).items() if _is_plain(array)}
        check(sum(array.size for array in found.values()), limits.elements, f"the {kind}", "elements")
    if not found:
        raise InvalidMedia(f"the {kind} holds no array of numbers")
    return found


def _listed(reader: FormatReader, data: bytes) -> tuple[list[str], list[tuple[int, ...]]]:
    """Names and shapes of all numeric arrays, those of one name among them."""
    listed = list(reader.listed(data))
    return [name for name, _ in listed], [shape for _, shape in listed]


def library(module: str, kind: str) -> FormatReader:
    """The module of this package, with the library that it needs."""
    try:
        reader: FormatReader = import_module(f"{_HOME}.{module}")
    except ImportError as error:
        raise InvalidMedia(f"this service reads no {kind}: it lacks the libraries of pandagpt[scientific]") from error
    return reader


def _is_plain(array: AnyArray) -> bool:
    return array.dtype.kind in "iufb" and array.dtype.itemsize <= 8 and array.size > 0


def _elements(shape: tuple[int, ...]) -> float:
    count = 1.0  # a float: a header may state 2^60 by 2^60
    for side in shape:
        count *= side
    return count
