"""Clouds in numpy's files: .npy, and .npz with one array or one named points or xyz."""

import io
import zipfile

import numpy as np
import numpy.typing as npt

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media.arrays import npy
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check

NAMES = ("points", "xyz")
MAX_COLUMNS = 32  # x, y, z, then colours, normals, labels
MAX_MEMBERS = 64


def from_npy(data: bytes, limits: Limits) -> npt.NDArray[np.float64]:
    """An array (N, 3) or wider, of which the first three columns are taken."""
    array = npy.read(data, limits, finite=False)
    if array.ndim != 2 or not 3 <= array.shape[1] <= MAX_COLUMNS:
        shape = " by ".join(str(side) for side in array.shape)
        raise InvalidMedia(f"an array of points is (N, 3), with at most {MAX_COLUMNS} columns; this one is {shape}")
    check(len(array), limits.points, "the cloud", "points")
    return array[:, :3].astype(np.float64)


def from_npz(data: bytes, limits: Limits) -> npt.NDArray[np.float64]:
    with decoding(".npz file"), zipfile.ZipFile(io.BytesIO(data)) as archive:
        member = _member(archive)
        check(member.file_size, limits.bytes, "the array in the .npz file", "bytes")
        with archive.open(member) as file:
            unpacked = file.read(member.file_size)  # a longer one than its entry states is cut and then refused
    return from_npy(unpacked, limits)


def _member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    check(len(members), MAX_MEMBERS, "the .npz file", "arrays")
    named = [members[name] for name in NAMES if name in members] or list(members.values())
    if len(members) > 1 and not members.keys() & set(NAMES):
        raise InvalidMedia(f"the .npz file holds {len(members)} arrays, none of them named {' or '.join(NAMES)}")
    if not named:
        raise InvalidMedia("the .npz file holds no array")
    return named[0]
