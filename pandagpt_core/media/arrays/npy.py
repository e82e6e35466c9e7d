"""Reading .npy bytes without trusting them: no pickle, header bounded, nothing allocated beyond the bytes sent."""

import io
import math

import numpy as np
import numpy.typing as npt

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check

MAGIC = b"\x93NUMPY"
MAX_HEADER = 4096
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def is_npy(data: bytes) -> bool:
    return data.startswith(MAGIC)


def read(data: bytes, limits: Limits, *, finite: bool = True) -> npt.NDArray[np.generic]:
    """The array, a read-only view of `data`. Integers and floats up to 8 bytes only; all finite if so wanted."""
    with decoding(".npy array"):
        stream = io.BytesIO(data)
        reader = _READERS[np.lib.format.read_magic(stream)]
        shape, fortran, dtype = reader(stream, max_header_size=MAX_HEADER)
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InvalidMedia("the .npy array must hold integers or floats of at most 64 bits")
    if any(side < 1 for side in shape):
        raise InvalidMedia("the .npy array is empty")
    count = math.prod(shape)
    check(count, limits.elements, "the .npy array", "elements")
    if len(data) - stream.tell() != count * dtype.itemsize:
        raise InvalidMedia("the .npy array's shape does not match its length in bytes")
    array = np.frombuffer(data, dtype=dtype, count=count, offset=stream.tell())
    if finite and dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidMedia("the .npy array holds NaN or infinity")
    return array.reshape(shape, order="F" if fortran else "C")
