"""Files of recordings: tables of text, JSON in its usual shapes, .npy, and archives of one table a sensor."""

import io
import re
import zipfile
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media.arrays import npy
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.media.motion import har
from pandagpt_core.media.motion.arrays import of_arrays
from pandagpt_core.media.motion.names import LINEAR, NOTHING, Named, understand
from pandagpt_core.media.motion.recording import COLUMNS, ORDER, Recording, joined_tables, of_table
from pandagpt_core.media.motion.stated import RATE_NAMES, StatedRate, Units, units_of
from pandagpt_core.media.motion.table import Table, read_table, read_text
from pandagpt_core.media.motion.units import ACCELEROMETER, GYROSCOPE
from pandagpt_core.media.scientific.arrays import library, named_arrays
from pandagpt_core.media.scientific.magic import is_hdf, is_parquet, is_refused, is_scientific
from pandagpt_core.media.signatures import kind_of

_SHORT = {"accel": ACCELEROMETER, "acc": ACCELEROMETER, "gyro": GYROSCOPE, "gyr": GYROSCOPE}
_FIELD_RATE, _FIELD_UNITS = "the rate in the JSON", "the units in the JSON"
_OF_SENSOR_LOGGER = "seconds_elapsed"  # a column that it writes
_TABLES = (".csv", ".txt", ".tsv", ".dat")
TAKES = "CSV or another table of text, JSON, .npy, Parquet, MATLAB 5 or 7.3, HDF5, or a zip of one table a sensor"


def read_recording(data: bytes, limits: Limits, units: Units) -> Recording:
    """Raises InvalidMedia for other bytes, naming line and column or the missing part."""
    if npy.is_npy(data):
        notes.fact("type", ".npy")
        return of_table(_of_array(npy.read(data, limits, finite=False)), units)
    if data.startswith(b"PK\x03\x04"):
        return _of_archive(data, limits, units)
    if is_parquet(data):
        notes.fact("type", "Parquet")
        return of_table(_of_parquet(data, limits), units)
    if is_scientific(data):
        notes.fact("type", "HDF5" if is_hdf(data) else "MATLAB")
        return of_arrays(named_arrays(data, limits), limits, units)
    if is_refused(data):
        raise InvalidMedia(f"a recording in MATLAB's version 4 or in gzip is not read here; it must be {TAKES}")
    if (kind := kind_of(data)) is not None:
        raise InvalidMedia(f"the recording is none of {TAKES}; the file is {kind}")
    check(len(data), limits.table_bytes, "the recording", "bytes of text")
    text = read_text(data)
    if text.lstrip()[:1] in ("[", "{"):
        notes.fact("type", "JSON")
        return _of_json(text, limits, units)
    notes.fact("type", "table of text")
    return of_table(read_table(text, limits), units)


def _of_parquet(data: bytes, limits: Limits) -> Table:
    library("parquet", "Parquet file")
    from pandagpt_core.media.scientific import parquet  # 50 MB, for the children that read such files

    columns = parquet.columns(data, limits)
    return Table(tuple(columns), tuple(columns.values()))


def _of_array(array: np.ndarray) -> Table:
    if array.ndim != 2:
        raise InvalidMedia(f"an IMU .npy array has two dimensions; this one has {array.ndim}")
    if array.shape[1] != COLUMNS and array.shape[0] == COLUMNS:
        array = array.T
    if array.shape[1] != COLUMNS:
        raise InvalidMedia(f"an IMU .npy array is (N, 6) or (6, N); this one is {array.shape[0]} by {array.shape[1]}")
    return Table((), tuple(array.astype(np.float64).T))


def _of_archive(data: bytes, limits: Limits, units: Units) -> Recording:
    """phyphox and Sensor Logger write one table a sensor, named by it; several of the accelerometer, by its form."""
    tables: list[tuple[Table, Named]] = []
    with decoding("archive of a recording"), zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = [one for one in archive.infolist() if one.filename.lower().endswith(_TABLES)]
        if har.is_windowed([one.filename for one in files]):
            notes.fact("type", "windows of UCI HAR")
            return of_table(har.read_windows(archive, files, limits), units)
        check(sum(one.file_size for one in files), limits.table_bytes, "the archive", "bytes of text")
        for one in files:
            sensor = _sensor(one.filename)
            if sensor is not None:
                with archive.open(one) as file:
                    table = read_table(read_text(file.read(limits.table_bytes + 1)), limits)
                    table = har.described(table, one.filename, sensor.kind)
                    tables.append(_placed(table, sensor))
    if not tables:
        raise InvalidMedia("the archive holds no table named after accelerometer or gyroscope")
    notes.fact("type", f"zip of {len(tables)} tables")
    return joined_tables(tables, units)


def _sensor(path: str) -> Named | None:
    """The sensor that a table's name names; nothing where it is of both, None for others."""
    name = path.rpartition("/")[2].rpartition(".")[0]
    if re.search(r"meta|annotation", name, re.IGNORECASE):
        return None
    found = understand(f"{name} x")
    if found.kind in (ACCELEROMETER, GYROSCOPE):
        return Named(found.kind, form=found.form)
    return NOTHING if "raw" in name.lower() else None


def _placed(table: Table, sensor: Named) -> tuple[Table, Named]:
    """One of several tables under a name of its own. Sensor Logger's plain accelerometer is without gravity."""
    if sensor.kind == ACCELEROMETER and not sensor.form and _OF_SENSOR_LOGGER in table.names:
        sensor = replace(sensor, form=LINEAR)
    words = " ".join(word for word in (sensor.form, sensor.kind) if word)
    return replace(table, called=f"the table of the {words}" if words else "a table of the archive"), sensor


def _of_json(text: str, limits: Limits, units: Units) -> Recording:
    read = _decoded(text)
    if isinstance(read, dict):
        return _of_object(read, limits, units)
    if not isinstance(read, list) or not read:
        raise InvalidMedia("the JSON recording holds no rows")
    check(len(read), limits.imu_rows, "the recording", "rows")
    if isinstance(read[0], dict):
        return _of_records(read, units)
    return of_table(Table((), _matrix(read, COLUMNS, ORDER)), units)


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        pass
    try:  # a record a line
        return [msgspec.json.decode(line) for line in text.splitlines() if line.strip()]
    except (msgspec.DecodeError, RecursionError) as error:
        at = re.search(r"byte (\d+)", str(error))
        where = f" at byte {at[1]} of a line" if at else ""
        raise InvalidMedia(f"the recording begins as JSON and is not JSON{where}") from None


def _of_object(read: dict[str, Any], limits: Limits, units: Units) -> Recording:
    """{"accelerometer": rows, "gyroscope": rows, "rate_hz": ...}, or a list a column."""
    rates, stated = _rates(read), _stated_units(read)
    sensors = {_SHORT.get(name, name): rows for name, rows in read.items()}
    if ACCELEROMETER in sensors or GYROSCOPE in sensors:
        if ACCELEROMETER not in sensors or GYROSCOPE not in sensors:
            raise InvalidMedia("the JSON recording needs both accelerometer and gyroscope")
        parts = [_matrix(sensors[sensor], 3, "x, y, z") for sensor in (ACCELEROMETER, GYROSCOPE)]
        lengths = [len(part[0]) for part in parts]
        check(max(lengths), limits.imu_rows, "the recording", "rows")
        if lengths[0] != lengths[1]:
            raise InvalidMedia(f"accelerometer has {lengths[0]} rows, gyroscope {lengths[1]}; they must agree")
        return of_table(Table((), (*parts[0], *parts[1]), rates, stated), units)
    lists = {name: values for name, values in read.items() if isinstance(values, list)}
    if len({len(values) for values in lists.values()}) != 1:
        raise InvalidMedia("the JSON recording needs accelerometer and gyroscope, or columns of one length")
    return of_table(Table(tuple(lists), tuple(_column(values) for values in lists.values()), rates, stated), units)


def _rates(read: dict[str, Any]) -> tuple[StatedRate, ...]:
    found = (value for name, value in read.items() if name.lower() in RATE_NAMES)
    return tuple(
        StatedRate(float(one), _FIELD_RATE) for one in found if isinstance(one, int | float) and one is not True
    )


def _stated_units(read: dict[str, Any]) -> Units:
    """The units in the object's field "units": a text as the parameter has it, or one a sensor."""
    found = read.get("units", read.get("unit"))
    if isinstance(found, dict):
        found = " ".join(one for one in found.values() if isinstance(one, str))
    return units_of(found.split(), _FIELD_UNITS) if isinstance(found, str) else {}


def _of_records(read: list[Any], units: Units) -> Recording:
    """Objects with the same names, or one an event of a sensor, as Sensor Logger writes them."""
    if not all(isinstance(one, dict) for one in read):
        raise InvalidMedia("the JSON recording mixes objects with other rows")
    if "sensor" in read[0]:
        by_sensor: dict[str, list[dict[str, Any]]] = {}
        for one in read:
            by_sensor.setdefault(str(one.get("sensor", "")), []).append(one)
        tables = [
            _placed(_records_table(rows), sensor)
            for name, rows in by_sensor.items()
            if (sensor := _sensor(f"{name}.csv")) is not None
        ]
        return joined_tables(tables, units)
    return of_table(_records_table(read), units)


def _records_table(read: list[dict[str, Any]]) -> Table:
    flat = [_flat(one) for one in read]
    names = tuple(dict.fromkeys(name for one in flat[:50] for name in one))
    return Table(names, tuple(_column([one.get(name) for one in flat]) for name in names))


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """{"acc": {"x": 1}} as {"acc x": 1}."""
    out: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            out |= {f"{name} {inner}": one for inner, one in value.items()}
        else:
            out[name] = value
    return out


def _column(values: list[Any]) -> np.ndarray:
    """Numbers; other cells are no reading. Numbers as strings are read."""
    return np.array([_number(value) for value in values], dtype=np.float64)


def _number(value: Any) -> float:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return float("nan")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")


def _matrix(rows: Any, columns: int, needed: str) -> tuple[np.ndarray, ...]:
    """`columns` columns of rows of numbers."""
    if not isinstance(rows, list) or not rows:
        raise InvalidMedia("the JSON recording holds no rows")
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != columns:
            width = len(row) if isinstance(row, list) else 1
            raise InvalidMedia(f"row {index + 1} of the recording has {width} columns; it needs {needed} ({columns})")
    return tuple(np.array([[_number(cell) for cell in row] for row in rows], dtype=np.float64).T)
