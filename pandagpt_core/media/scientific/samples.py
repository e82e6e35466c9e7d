"""A tiny file in each format, made here: for the warm-up of the children that read them, and for tests."""

import io
from collections.abc import Mapping

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.io import savemat

from pandagpt_core.ndarrays import AnyArray


def files() -> list[bytes]:
    rows = np.sin(np.arange(64 * 6, dtype=np.float64)).reshape(64, 6)
    names = ["accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z"]
    table = dict(zip(names, rows.T, strict=True))
    recording, depth = {"accelerometer": rows[:, :3], "gyroscope": rows[:, 3:]}, {"depth": np.eye(8) + 1}
    arrays = (recording, depth)
    return [parquet(table), *map(matlab, arrays), *map(hdf, arrays), hdf(depth, packed=True)]


def parquet(columns: Mapping[str, object], **options: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), out, **options)
    return out.getvalue()


def matlab(arrays: Mapping[str, AnyArray], packed: bool = True) -> bytes:
    out = io.BytesIO()
    savemat(out, dict(arrays), do_compression=packed)
    return out.getvalue()


def hdf(arrays: Mapping[str, AnyArray], packed: bool = False, matlab: bool = False) -> bytes:
    """HDF5; as MATLAB 7.3 writes it, with its head, axes turned round and the class of each array, if so wanted."""
    out = io.BytesIO()
    with h5py.File(out, "w", userblock_size=512 if matlab else 0) as file:
        for name, array in arrays.items():
            options = {"chunks": array.shape, "compression": "gzip"} if packed else {}
            made = file.create_dataset(name, data=array.T if matlab else array, **options)
            if matlab:
                made.attrs["MATLAB_class"] = np.bytes_("double")
    body = bytearray(out.getvalue())
    if matlab:
        head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64"
        body[: len(head)] = head
    return bytes(body)
