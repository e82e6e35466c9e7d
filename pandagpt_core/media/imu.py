"""IMU recordings to [1, 6, 2000]: five seconds of accelerometer (m/s^2) and gyroscope (rad/s), x y z each.

The window and step count are ImageBind's (Girdhar et al. 2023, section 4); its release holds no IMU loader. Channel
order and the absence of normalisation are ours, as the release documents neither.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import npy
from pandagpt_core.media import params as p
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check

STEPS, SECONDS = 2000, 5.0
COLUMNS = 6
SLOWEST_HZ, FASTEST_HZ = 1.0, 100_000.0
_ORDER = "accelerometer x, y, z, then gyroscope x, y, z"
_SEPARATORS = (",", ";", "\t")

Float = npt.NDArray[np.float64]
Rows = list[list[float]]


class _Recording(msgspec.Struct, frozen=True):
    """The JSON object form: rows of three numbers under either spelling."""

    accelerometer: Rows | None = None
    accel: Rows | None = None
    gyroscope: Rows | None = None
    gyro: Rows | None = None
    rate_hz: float | None = None


def resampled(data: bytes, params: p.Params, limits: Limits) -> npt.NDArray[np.float32]:
    """CSV (header or not), JSON (rows, or an object of accelerometer and gyroscope) or .npy ((N, 6) or (6, N)).

    `rate_hz`, rows a second, is required here or in the JSON object; the parameter wins. Linear in time, to 400 Hz. A
    longer recording gives its middle five seconds; a shorter one is repeated, since holding the last value would say
    that the body then froze.
    """
    p.only(params, ("rate_hz",))
    rows, stated = _read(data, limits)
    check(len(rows), limits.imu_rows, "the recording", "rows")
    if len(rows) < 2:
        raise InvalidMedia(f"the recording has {len(rows)} rows; at least 2 are needed")
    if not np.isfinite(rows).all():
        raise InvalidMedia("the recording holds NaN or infinity")
    if np.abs(rows).max() > np.finfo(np.float32).max:
        raise InvalidMedia("the recording holds numbers beyond 32-bit floats")
    given = params if "rate_hz" in params or stated is None else {"rate_hz": stated}
    rate = p.required(given, "rate_hz", SLOWEST_HZ, FASTEST_HZ, "rows a second; a recording does not tell it")
    return _five_seconds(rows, rate).T.astype(np.float32)[None]


def _five_seconds(rows: Float, rate: float) -> Float:
    """[2000, 6] from [N, 6] at `rate`."""
    start = max(0.0, len(rows) / rate - SECONDS) / 2
    if len(rows) < SECONDS * rate:
        rows = np.resize(rows, (int(np.ceil(SECONDS * rate)) + 1, COLUMNS))  # repeats whole rows from the start
    at = start + np.arange(STEPS) * (SECONDS / STEPS)
    times = np.arange(len(rows)) / rate
    return np.stack([np.interp(at, times, column) for column in rows.T], axis=1)


def _read(data: bytes, limits: Limits) -> tuple[Float, float | None]:
    """Rows [N, 6] and the rate the file states, if any."""
    if npy.is_npy(data):
        return _from_array(npy.read(data, limits)), None
    check(len(data), limits.table_bytes, "the recording", "bytes of text")
    body = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if body[:1] in (b"[", b"{"):
        return _from_json(body)
    return _from_csv(body, limits), None


def _from_array(array: npt.NDArray[np.generic]) -> Float:
    if array.ndim != 2:
        raise InvalidMedia(f"an IMU .npy array has two dimensions; this one has {array.ndim}")
    if array.shape[1] == COLUMNS:
        return array.astype(np.float64)
    if array.shape[0] == COLUMNS:
        return array.T.astype(np.float64)
    raise InvalidMedia(f"an IMU .npy array is (N, 6) or (6, N); this one is {array.shape[0]} by {array.shape[1]}")


def _from_json(body: bytes) -> tuple[Float, float | None]:
    with decoding("JSON recording"):
        read = msgspec.json.decode(body, type=Rows | _Recording)
    if isinstance(read, list):
        return _table(read, COLUMNS), None
    accelerometer = read.accelerometer if read.accelerometer is not None else read.accel
    gyroscope = read.gyroscope if read.gyroscope is not None else read.gyro
    if accelerometer is None or gyroscope is None:
        raise InvalidMedia("the JSON recording needs both accelerometer and gyroscope")
    if len(accelerometer) != len(gyroscope):
        raise InvalidMedia(f"accelerometer has {len(accelerometer)} rows, gyroscope {len(gyroscope)}; they must agree")
    return np.concatenate([_table(accelerometer, 3), _table(gyroscope, 3)], axis=1), read.rate_hz


def _from_csv(body: bytes, limits: Limits) -> Float:
    check(body.count(b"\n"), limits.imu_rows + 1, "the recording", "lines")
    with decoding("CSV recording"):
        lines = [line for line in body.decode("utf-8").splitlines() if line.strip()]
    if not lines:
        raise InvalidMedia("the recording has 0 rows; at least 2 are needed")
    separator = next((mark for mark in _SEPARATORS if mark in lines[0]), ",")
    if not _is_numeric(lines[0].split(separator)):
        _check_header(lines[0].lower().split(separator))
        lines = lines[1:]
    with decoding("CSV recording"):
        rows = [[float(cell) for cell in line.split(separator)] for line in lines]
    return _table(rows, COLUMNS)


def _is_numeric(cells: Sequence[str]) -> bool:
    try:
        [float(cell) for cell in cells]
    except ValueError:
        return False
    return True


def _check_header(names: Sequence[str]) -> None:
    """Refuse names that say another order than ours; unknown names are taken at their place."""
    if any("gyr" in name for name in names[:3]) or any("acc" in name for name in names[3:]):
        raise InvalidMedia(f"the columns must be {_ORDER}")


def _table(rows: Rows, columns: int) -> Float:
    for row in rows:
        if len(row) != columns:
            needed = f"{_ORDER} (6)" if columns == COLUMNS else f"x, y, z ({columns})"
            raise InvalidMedia(f"a row of the recording has {len(row)} columns; it needs {needed}")
    return np.array(rows, dtype=np.float64).reshape(len(rows), columns)
