"""The arrays of an .npz archive by name, each within the limits before it is unpacked."""

import io
import zipfile
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media.arrays import npy
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check

MAX_ARRAYS = 64


def arrays(data: bytes, limits: Limits) -> Mapping[str, npt.NDArray[np.generic]]:
    """Raises InvalidMedia for an archive without arrays, and for an array that is none of plain numbers."""
    with decoding(".npz archive"), zipfile.ZipFile(io.BytesIO(data)) as archive:
        listed = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        check(len(listed), MAX_ARRAYS, "the .npz archive", "arrays")
        check(sum(info.file_size for info in listed), limits.elements * 8.0, "the .npz archive", "bytes of arrays")
        if len({info.filename for info in listed}) < len(listed):
            raise InvalidMedia("two arrays of the .npz archive have the same name")
        inner = {info.filename.removesuffix(".npy"): _unpacked(archive, info) for info in listed}
    if not inner:
        raise InvalidMedia("the .npz archive holds no array")
    return {
        name: npy.read(body, limits, finite=False) for name, body in inner.items() if len(inner) == 1 or _plain(body)
    }


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        return file.read(int(info.file_size) + 1)


def _plain(body: bytes) -> bool:
    """Whether an array beside others is one of numbers: texts and objects there hold nothing that is read."""
    return not any(word in body[: npy.MAX_HEADER] for word in (b"|O", b"<U", b"|S", b"|V", b"|b1"))
