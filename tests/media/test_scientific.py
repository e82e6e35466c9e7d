"""Parquet, MATLAB, HDF5 and UCI HAR's text: read as the plain file is, or refused in words."""

import io
import zipfile

import numpy as np
import pytest

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load, read
from tests.media.conftest import Make

samples = pytest.importorskip("pandagpt_core.media.scientific.samples", exc_type=ImportError)
LIMITS, MAKE = Limits(), Make()
NAMES = ["accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z"]
ROWS = np.round(np.sin(np.arange(300 * 6).reshape(300, 6) * 0.37) * 4 + np.arange(6), 4)
PLAIN = load("imu-v1", MAKE.npy(ROWS), {"rate_hz": 50.0}, LIMITS)
TIMES = np.arange(300) * 20
METRES = np.add.outer(np.linspace(1, 4, 30), np.linspace(0, 2, 40))
CAMERA = {"focal_px": 520.0, "baseline_m": 0.075}
DEPTH = load("depth-sunrgbd-v1", MAKE.npy(METRES), {"unit": "m", **CAMERA}, LIMITS)


def columns() -> dict[str, np.ndarray]:
    return dict(zip(NAMES, ROWS.T, strict=True))


@pytest.mark.parametrize("coding", ["none", "snappy", "gzip", "zstd"])
def test_a_parquet_table_is_read_by_its_names_and_times(coding: str) -> None:
    when = (TIMES * 1_000_000).astype("datetime64[ns]")
    order = dict(sorted(columns().items(), reverse=True))
    data = samples.parquet({"label": ["walk"] * 300, "timestamp": when, **order}, compression=coding)
    array, notes = read("imu-v1", data, {}, LIMITS)
    assert array == pytest.approx(PLAIN, abs=1e-3)
    assert notes.facts["rate"].startswith("50 Hz")


@pytest.mark.parametrize("make", ["matlab", "matlab plain", "hdf", "hdf packed", "hdf as matlab 7.3"])
@pytest.mark.parametrize("shape", ["sensors", "columns", "six", "turned"])
def test_arrays_are_a_recording(make: str, shape: str) -> None:
    arrays = {
        "sensors": {"acc": ROWS[:, :3], "gyro": ROWS[:, 3:], "fs": np.array([[50.0]])},
        "columns": {**{name: column[:, None] for name, column in columns().items()}, "time_ms": TIMES[:, None]},
        "six": {"data": ROWS, "fs": np.array([[50.0]])},
        "turned": {"acc": ROWS[:, :3].T, "gyro": ROWS[:, 3:].T, "fs": np.array([[50.0]])},
    }[shape]
    assert load("imu-v1", made(make, arrays), {}, LIMITS) == pytest.approx(PLAIN, abs=1e-3)


def test_the_groups_of_hdf5_name_the_sensors_of_axes() -> None:
    groups = {
        f"{sensor}/{axis}": ROWS[:, 3 * part + at]
        for part, sensor in enumerate(("acc", "gyro"))
        for at, axis in enumerate("xyz")
    }
    arrays = {**groups, "meta/fs": np.array([[50.0]])}
    assert load("imu-v1", samples.hdf(arrays), {}, LIMITS) == pytest.approx(PLAIN, abs=1e-3)


def test_arrays_of_one_name_count_one_by_one() -> None:
    """Else the last one's size alone would be held against the limit, and all of them would be read."""
    few = Limits(elements=1000)
    with pytest.raises(InvalidMedia, match="has 1064 elements; the limit is 1000"):
        load("depth-sunrgbd-v1", samples.hdf({"a/depth": np.ones((10, 100)), "b/depth": np.ones((8, 8))}), {}, few)
    first, second = (samples.matlab({"depth": np.ones(shape)}, packed=False) for shape in ((10, 100), (8, 8)))
    with pytest.raises(InvalidMedia, match="has 1064 elements; the limit is 1000"):
        load("depth-sunrgbd-v1", first + second[128:], {}, few)
    with pytest.raises(InvalidMedia, match="two arrays of the MATLAB file have the same name"):
        load("depth-sunrgbd-v1", first + second[128:], {}, LIMITS)
    with pytest.raises(InvalidMedia, match="holds 2 maps"):
        load("depth-sunrgbd-v1", samples.hdf({"a/depth": np.ones((10, 100)), "b/depth": np.ones((8, 8))}), {}, LIMITS)


@pytest.mark.parametrize("make", ["matlab", "hdf", "hdf as matlab 7.3", "npz"])
def test_a_map_beside_its_camera_needs_no_parameters(make: str) -> None:
    matrix = np.array([[520.0, 0, 160], [0, 520.0, 120], [0, 0, 1]])
    arrays = {"depth_mm": METRES * 1000, "K": matrix, "baseline": np.array([[0.075]])}
    array, notes = read("depth-sunrgbd-v1", made(make, arrays), {}, LIMITS)
    assert array == pytest.approx(DEPTH, abs=1e-3)
    assert {name: one.value for name, one in notes.parameters.items()} == {
        "unit": "mm",
        "focal_px": 520.0,
        "baseline_m": 0.075,
    }
    other, _ = read("depth-sunrgbd-v1", made(make, arrays), {"focal_px": 1040.0}, LIMITS)
    assert not np.allclose(other, array), "the caller's own parameter wins"


def made(make: str, arrays: dict[str, np.ndarray]) -> bytes:
    if make == "npz":
        out = io.BytesIO()
        np.savez(out, **arrays)
        return out.getvalue()
    kind, _, how = make.partition(" ")
    return (
        samples.matlab(arrays, how != "plain")
        if kind == "matlab"
        else samples.hdf(arrays, how == "packed", "7.3" in how)
    )


def test_windows_of_uci_har_are_joined_where_they_go_on() -> None:
    archive = har_archive(windows=6, broken_after=2)
    array, notes = read("imu-v1", archive, {}, LIMITS)
    assert notes.facts["windows"] == "3 to 6 of 6 that were read"
    assert notes.facts["rate"] == "50 Hz, 320 rows, 6.40 s"
    assert notes.facts["accelerometer x"] == "factor 9.80665"
    part, rest = read("imu-v1", archive, {}, Limits(table_bytes=6 * 2 * 128 * 16))
    assert array.shape == part.shape
    assert "of 2 that were read" in rest.facts["windows"] or "of 1 that were read" in rest.facts["windows"]


def har_archive(windows: int, broken_after: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number, (part, sensor, axis) in enumerate(
            (p, s, a) for p, s in (("total", "acc"), ("body", "gyro")) for a in "xyz"
        ):
            one = np.sin(np.arange(64 * (windows + 2)) * (0.1 + 0.02 * number))
            rows = [one[64 * at : 64 * at + 128] + (at < broken_after) for at in range(windows)]
            text = "\n".join(" ".join(f"{value: .7e}" for value in row) for row in rows) + "\n"
            archive.writestr(f"UCI HAR Dataset/test/Inertial Signals/{part}_{sensor}_{axis}_test.txt", text)
    return out.getvalue()


def test_whole_recordings_of_har_have_their_rate_and_units() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, rows in (("acc", ROWS[:, :3] / 9.80665), ("gyro", ROWS[:, 3:])):
            archive.writestr(f"RawData/{name}_exp01_user01.txt", "\n".join(" ".join(map(str, row)) for row in rows))
    assert load("imu-v1", out.getvalue(), {}, LIMITS) == pytest.approx(PLAIN, abs=1e-3)


def test_what_the_file_does_not_say_is_left_to_the_caller_with_the_reason() -> None:
    out = io.BytesIO()
    np.savez(out, depth=(METRES * 1000).astype(np.uint16), K=np.diag([520.0, 520.0, 1.0]))
    _, notes = read("depth-parameters-v1", out.getvalue(), {}, LIMITS)
    assert notes.parameters["focal_px"].value == 520.0
    assert notes.parameters["unit"].value is None
    assert "look like millimetres" in notes.parameters["unit"].reason
    assert notes.parameters["baseline_m"].reason == "nothing in the file names it; metric depth needs it"
    _, heat = read("thermal-parameters-v1", MAKE.npy(np.full((4, 4), 29_500) + np.eye(4) * 900), {}, LIMITS)
    assert heat.parameters["low"].value is None
    assert "as centikelvin 21.9 to 30.9 degrees Celsius" in heat.parameters["unit"].reason


@pytest.mark.parametrize("recipe", ["imu-v1", "depth-sunrgbd-v1", "shown-thermal-v1"])
def test_other_formats_of_the_kind_are_refused_by_name(recipe: str) -> None:
    for data in (b"\x1f\x8b\x08" + bytes(60), b"MATLAB 4 something" + bytes(60)):
        with pytest.raises(InvalidMedia, match=r"gzip"):
            load(recipe, data, {}, LIMITS)
    if recipe != "imu-v1":
        with pytest.raises(InvalidMedia, match="Parquet"):
            load(recipe, samples.parquet(columns()), {}, LIMITS)
