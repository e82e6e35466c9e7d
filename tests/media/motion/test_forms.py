"""Several accelerometers in one recording: the right one by its name, and said so. Dates in columns of times."""

import io
import json
import zipfile
from datetime import datetime, timedelta

import numpy as np
import pytest

from pandagpt_core.media import Limits, load, read
from pandagpt_core.media.motion.table import seconds_of
from tests.media.conftest import Make

RECIPE, LIMITS = "imu-v1", Limits()
TIMES = np.arange(300) / 50
GRAVITY = np.array([0, 0, 9.8])
TURNING = np.round(np.sin(np.arange(900).reshape(300, 3) * 0.37), 4)
MOVING = np.round(np.cos(np.arange(900).reshape(300, 3) * 0.21) + GRAVITY, 4)
LINEAR, RAW = MOVING - GRAVITY, MOVING + 0.5
SENSORS = {"TotalAcceleration": MOVING, "Accelerometer": LINEAR, "AccelerometerUncalibrated": RAW}


def wanted(moving: np.ndarray) -> np.ndarray:
    return load(RECIPE, Make().npy(np.column_stack([moving, TURNING])), {"rate_hz": 50.0}, LIMITS)


def zipped(tables: dict[str, np.ndarray], head: str = "time,seconds_elapsed,z,y,x") -> bytes:
    """As Sensor Logger writes them: nanoseconds, seconds, and the axes from z to x."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, rows in {**tables, "Gyroscope": TURNING}.items():
            lines = [
                f"{1_700_000_000_000_000_000 + round(time * 1e9)},{time},{z},{y},{x}"
                for time, (x, y, z) in zip(TIMES, rows, strict=True)
            ]
            archive.writestr(f"{name}.csv", "\n".join([head, *lines]))
        archive.writestr("Metadata.csv", "version,device name\n3,phone")
        archive.writestr("Gravity.csv", "time,seconds_elapsed,z,y,x\n1,0,9.8,0,0\n2,1,9.8,0,0")
    return out.getvalue()


@pytest.mark.parametrize(
    ("names", "read_as", "said"),
    [
        (["TotalAcceleration"], MOVING, []),
        (["Accelerometer", "TotalAcceleration"], MOVING, ["of the accelerometer the total columns are read"]),
        ([*SENSORS], MOVING, ["the total columns are read; dropped are: uncalibrated, linear"]),
        (["Accelerometer"], LINEAR, ["the acceleration is linear, which is without gravity"]),
        (["AccelerometerUncalibrated", "Accelerometer"], RAW, ["the uncalibrated columns are read"]),
    ],
)
def test_of_sensor_loggers_accelerometers_the_one_with_gravity_is_read(names, read_as, said):
    array, notes = read(RECIPE, zipped({name: SENSORS[name] for name in names}), {}, LIMITS)
    assert array == pytest.approx(wanted(read_as), abs=1e-3)
    assert all(any(words in one for one in notes.warnings) for words in said)
    assert bool(notes.warnings) == bool(said)


def test_the_records_of_sensor_logger_are_read_as_its_archive_is():
    records = [
        {
            "sensor": name,
            "time": str(round(time * 1e9)),
            "seconds_elapsed": str(time),
            "x": row[0],
            "y": row[1],
            "z": row[2],
        }
        for name, rows in {"Accelerometer": LINEAR, "TotalAcceleration": MOVING, "Gyroscope": TURNING}.items()
        for time, row in zip(TIMES, rows.tolist(), strict=True)
    ]
    array, notes = read(RECIPE, json.dumps(records).encode(), {}, LIMITS)
    assert array == pytest.approx(wanted(MOVING), abs=1e-3)
    assert any("dropped are: linear" in one for one in notes.warnings)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["linear acceleration", "acceleration"], "the plain columns are read; dropped are: linear"),
        (["userAcceleration", "totalAcceleration"], "the total columns are read; dropped are: linear"),
        (["linear acceleration"], "without gravity"),
    ],
)
def test_in_one_table_too_the_accelerometer_with_gravity_is_read(names, said):
    parts = [MOVING if index == len(names) - 1 else LINEAR for index in range(len(names))]
    head = ["t", *(f"{name} {axis}" for name in [*names, "gyro"] for axis in "xyz")]
    rows = np.column_stack([TIMES, *parts, TURNING])
    data = "\n".join([",".join(head), *(",".join(map(str, row)) for row in rows)]).encode()
    array, notes = read(RECIPE, data, {}, LIMITS)
    assert array == pytest.approx(wanted(MOVING), abs=1e-3)
    assert any(said in one for one in notes.warnings)


def test_phyphox_linear_accelerometer_alone_is_read_and_said():
    data = zipped({"Linear Accelerometer": LINEAR}, "Index,Time (s),z (sensor),y (sensor),x (sensor)")
    array, notes = read(RECIPE, data, {}, LIMITS)
    assert array == pytest.approx(wanted(LINEAR), abs=1e-3)
    assert any("without gravity" in one for one in notes.warnings)


@pytest.mark.parametrize("names", ["imu_gx,imu_gy,imu_gz,imu_ax,imu_ay,imu_az", "IMU gx,IMU gy,IMU gz,AX,AY,AZ"])
def test_a_prefix_before_the_sensors_letter_hides_no_order(names):
    rows = np.column_stack([TURNING, MOVING])
    data = "\n".join([names, *(",".join(map(str, row)) for row in rows)]).encode()
    assert load(RECIPE, data, {"rate_hz": 50.0}, LIMITS) == pytest.approx(wanted(MOVING))


@pytest.mark.parametrize("unit", ["deg_s", "deg_per_s", "dps", "degrees per second", "deg/s"])
def test_a_unit_at_the_end_of_a_name_counts_without_brackets(unit):
    names = [f"acc_{axis}" for axis in "xyz"] + [f"gyro_{axis}_{unit}" for axis in "xyz"]
    rows = np.column_stack([MOVING, np.rad2deg(TURNING)])
    data = "\n".join([",".join(names), *(",".join(map(str, row)) for row in rows)]).encode()
    assert load(RECIPE, data, {"rate_hz": 50.0}, LIMITS) == pytest.approx(wanted(MOVING), abs=1e-5)


FORMATS = ["%d.%m.%Y %H:%M:%S.%f", "%d/%m/%Y %H:%M:%S.%f", "%Y/%m/%d %H:%M:%S.%f", "%d.%m.%Y %I:%M:%S.%f %p"]


@pytest.mark.parametrize("form", [*FORMATS, "%Y-%m-%dT%H:%M:%S.%f", "%H:%M:%S.%f"])
@pytest.mark.parametrize("mark", [",", ";"])
def test_dates_in_a_column_of_times_give_the_rate(form, mark):
    start = datetime(2024, 5, 31, 11, 59, 58)
    stamps = [(start + timedelta(seconds=float(time))).strftime(form) for time in TIMES]
    head = ["time", *(f"{sensor}_{axis}" for sensor in ("acc", "gyro") for axis in "xyz")]
    rows = np.column_stack([MOVING, TURNING])
    lines = [mark.join([stamp, *map(str, row)]) for stamp, row in zip(stamps, rows, strict=True)]
    text = "\n".join([mark.join(head), *lines])
    data = text.replace(".", ",") if mark == ";" and "." not in form[:8] else text
    assert load(RECIPE, data.encode(), {}, LIMITS) == pytest.approx(wanted(MOVING), abs=1e-3)


@pytest.mark.parametrize("cell", ["12.5", "1234567", "1.2.3", "99.99.2024 00:00:00", "20-20-2020", "a.b.cdef"])
def test_what_is_no_date_is_none(cell):
    assert seconds_of(cell) is None


def test_a_month_that_cannot_be_one_is_the_day():
    assert seconds_of("05/31/2024 10:00:00") == seconds_of("31.05.2024 10:00:00") == seconds_of("2024-05-31T10:00:00")
