"""Text files of UCI's human activity recordings (Anguita et al. 2013; Reyes-Ortiz et al. 2015): 50 Hz, g and rad/s.

The first data set holds windows: a file a channel, a line a window of 128 readings, of which half are those of the
line before. The second holds whole recordings, a file a sensor, three columns without a head.
"""

import io
import itertools
import re
import zipfile
from collections.abc import Sequence

import numpy as np

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits
from pandagpt_core.media.motion.stated import StatedRate
from pandagpt_core.media.motion.table import Table
from pandagpt_core.media.motion.units import ACCELEROMETER, CHANNELS
from pandagpt_core.ndarrays import Float64Array

RATES = (StatedRate(50.0, "the documentation of UCI HAR"),)
WINDOW, STEP = 128, 64
_UNITS = {"acc": "g", "gyro": "rad/s"}
_WINDOWS = re.compile(r"(total|body)_(acc|gyro)_([xyz])_(train|test)\.txt", re.IGNORECASE)
_WHOLE = re.compile(r"(acc|gyro)_exp\d+_user\d+\.txt", re.IGNORECASE)
_NAMES = [(("total", "acc") if sensor == ACCELEROMETER else ("body", "gyro"), axis) for sensor, axis in CHANNELS]


def is_windowed(paths: Sequence[str]) -> bool:
    """Whether an archive holds the windows of all six channels, of the training or the test set."""
    return _chosen(paths) is not None


def read_windows(archive: zipfile.ZipFile, files: Sequence[zipfile.ZipInfo], limits: Limits) -> Table:
    """The longest run of windows of which each begins with the half of the one before.

    Of large files the first part is read, `table_bytes` of them together.
    """
    by_path = {one.filename: one for one in files}
    chosen = _chosen(list(by_path))
    assert chosen is not None, "is_windowed was asked before"
    names, channels = [], []
    for (part, sensor), axis, path in chosen:
        names.append(f"{part} {sensor} {axis} ({_UNITS[sensor]})")
        with archive.open(by_path[path]) as file:
            channels.append(_windows(file.read(limits.table_bytes // len(chosen)), by_path[path].file_size))
    count = min(map(len, channels))
    start, end = _longest_run(np.stack([windows[:count] for windows in channels]))
    notes.fact("windows", f"{start + 1} to {end} of {count} that were read")
    return Table(tuple(names), tuple(_unfolded(windows[start:end]) for windows in channels), RATES)


def described(table: Table, path: str, sensor: str) -> Table:
    """A whole recording's three columns with their names, units and rate; other tables as they are."""
    if not _WHOLE.search(path) or table.names or len(table.columns) != 3:
        return table
    unit = "g" if sensor == ACCELEROMETER else "rad/s"
    return Table(tuple(f"{sensor} {axis} ({unit})" for axis in "xyz"), table.columns, RATES)


def _chosen(paths: Sequence[str]) -> list[tuple[tuple[str, str], str, str]] | None:
    """The six channels' files in their order, of one set; None where one is missing."""
    found = {match.groups(): path for path in sorted(paths) if (match := _WINDOWS.search(path.lower()))}
    for part in ("test", "train"):
        if all((*name, axis, part) in found for name, axis in _NAMES):
            return [(name, axis, found[(*name, axis, part)]) for name, axis in _NAMES]
    return None


def _windows(body: bytes, whole: int) -> Float64Array:
    """[windows, 128] of the lines, without the last one where the file goes on."""
    if len(body) < whole:
        body = body[: body.rfind(b"\n") + 1]
    with decoding("table of windows"):
        rows = np.loadtxt(io.BytesIO(body), ndmin=2)
    if not len(rows) or rows.shape[1] != WINDOW:
        raise InvalidMedia(f"a line of the windows has {rows.shape[1]} readings; it needs {WINDOW}")
    return np.where(np.isfinite(rows), rows, np.nan)


def _longest_run(channels: Float64Array) -> tuple[int, int]:
    """First and behind the last of the windows [channels, windows, 128] that go on in one another."""
    meets = (channels[:, 1:, :STEP] == channels[:, :-1, STEP:]).all(axis=(0, 2))
    ends = [0, *(np.flatnonzero(~meets) + 1).tolist(), channels.shape[1]]
    return max(itertools.pairwise(ends), key=lambda run: run[1] - run[0])


def _unfolded(windows: Float64Array) -> Float64Array:
    return np.concatenate([windows[0], windows[1:, STEP:].ravel()])
