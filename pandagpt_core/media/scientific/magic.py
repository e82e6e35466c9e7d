"""By which bytes the formats are known, and which media only a large library reads. Standard library only."""

import struct

from pandagpt_core.media.clouds import magic as clouds
from pandagpt_core.modalities import RECIPES

PARQUET = b"PAR1"
MATLAB = b"MATLAB 5.0 MAT-file"  # MATLAB's versions 5 to 7.2 call the format so
HDF = b"\x89HDF\r\n\x1a\n"
USER_BLOCK = 512  # bytes that MATLAB 7.3 writes in front of HDF5
_OTHERS = (b"MATLAB", b"\x1f\x8b")
_CLOUDS = "pandagpt_core.media.clouds.points"  # the module of the recipes that read clouds


def is_parquet(data: bytes) -> bool:
    return data.startswith(PARQUET)


def is_matlab(data: bytes) -> bool:
    return data.startswith(MATLAB)


def is_hdf(data: bytes) -> bool:
    """HDF5 itself, or behind the head that MATLAB 7.3 writes."""
    return data.startswith(HDF) or data[USER_BLOCK : USER_BLOCK + len(HDF)] == HDF


def is_scientific(data: bytes) -> bool:
    """Whether one of this package's libraries has to read it."""
    return is_parquet(data) or is_matlab(data) or is_hdf(data)


def needs_library(recipe: str, data: bytes) -> bool:
    """Whether it is a file of scientific tools, or a mesh or laser scan for a recipe of clouds.

    Every other medium needs no large library, so few decoding children have them.
    """
    module, _ = RECIPES.get(recipe, ("", ""))
    return is_scientific(data) or (module == _CLOUDS and clouds.is_by_library(data))


def is_refused(data: bytes) -> bool:
    """Of the same kind, and read by nothing here: other MATLAB versions, gzip."""
    return (data.startswith(_OTHERS) or is_matlab_4(data)) and not is_scientific(data)


def is_matlab_4(data: bytes) -> bool:
    """MATLAB's version 4 has no signature: five small integers (type, rows, columns, complex, length of the name), then
    the name and a zero byte."""
    if len(data) < 22:
        return False
    kind, rows, columns, is_complex, length = struct.unpack("<5i", data[:20])
    name = data[20 : 20 + max(length, 0)]
    sizes = kind in range(0, 100, 10) and 0 < rows < 1 << 30 and 0 < columns < 1 << 30 and is_complex in (0, 1)
    return sizes and 1 < length <= 64 and name.endswith(b"\0") and name[:-1].isascii() and name[:-1].isalnum()
