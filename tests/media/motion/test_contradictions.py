"""A recording that says two things of one matter is refused, and the refusal names both places."""

import json

import numpy as np
import pytest

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load, read

RECIPE, LIMITS = "imu-v1", Limits()
ROWS = np.round(np.sin(np.arange(120 * 6).reshape(120, 6) * 0.37) * 4 + 5, 4)
NAMES = ["ax", "ay", "az", "gx", "gy", "gz"]


def table(names: list[str], comments: str = "", times: np.ndarray | None = None) -> bytes:
    columns = ROWS if times is None else np.column_stack([times, ROWS])
    return (comments + "\n".join([",".join(names), *(",".join(map(str, row)) for row in columns)])).encode()


def refusal(data: bytes, **params: float | str) -> InvalidMedia:
    with pytest.raises(InvalidMedia) as caught:
        load(RECIPE, data, params, LIMITS)
    return caught.value


@pytest.mark.parametrize(
    ("name", "units", "words"),
    [
        ("ax (g)", "m/s2", "line 2, column 1 of the recording says g, and units says m/s2; they must agree"),
        ("ax_g", "m/s2", "line 2, column 1 of the recording says g, and units says m/s2; they must agree"),
        ("ax [mg]", "g deg/s", "line 2, column 1 of the recording says mg, and units says g; they must agree"),
    ],
)
def test_a_unit_of_the_header_that_the_caller_contradicts_is_refused(name, units, words):
    error = refusal(table([name, *NAMES[1:]], "# a phone\n"), rate_hz=50, units=units)
    assert (error.message, error.param) == (words, "units")


@pytest.mark.parametrize("spelt", ["(g)", "[g]", "(G's)"])
def test_a_unit_that_header_and_caller_agree_on_is_read(spelt):
    plain = load(RECIPE, table(NAMES), {"rate_hz": 50, "units": "g"}, LIMITS)
    named = table([f"{name} {spelt}" for name in NAMES[:3]] + NAMES[3:])
    for params in ({}, {"units": "g"}, {"units": "g rad/s"}):
        assert load(RECIPE, named, {"rate_hz": 50, **params}, LIMITS) == pytest.approx(plain)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ["ax (rad/s)", *NAMES[1:]],
            "line 1, column 1 of the recording says rad/s; the units of the accelerometer are m/s2, g, mg",
        ),
        (
            [*NAMES[:4], "gy (m/s^2)", "gz"],
            "line 1, column 5 of the recording says m/s2; the units of the gyroscope are rad/s,",
        ),
        (["ax (LSB)", *NAMES[1:]], "line 1, column 1 of the recording says counts; the units of"),
    ],
)
def test_a_unit_of_the_wrong_sensor_is_refused(names, words):
    assert refusal(table(names), rate_hz=50).message.startswith(words)


@pytest.mark.parametrize(
    ("comment", "place"),
    [
        ("# rate 100\n", "line 1 of the recording"),
        ("# a phone\n# sampling rate: 10 ms\n", "line 2 of the recording"),
        ("# Sampling frequency [Hz]: 100.0\n", "line 1 of the recording"),
    ],
)
def test_a_stated_rate_that_the_times_contradict_is_refused(comment, place):
    data = table(["time (s)", *NAMES], comment, np.arange(120) / 50)
    line = comment.count("\n") + 1
    wanted = f"{place} says 100 rows a second, and the times in line {line}, column 1 of the recording tell 50"
    assert refusal(data).message == f"{wanted}; they must agree"
    assert load(RECIPE, data.replace(b"100", b"50").replace(b"10 ms", b"20 ms"), {}, LIMITS).shape == (1, 6, 2000)


def test_a_stated_rate_that_the_caller_contradicts_is_refused():
    error = refusal(table(NAMES, "# rate 100\n"), rate_hz=50)
    assert "rate_hz says 50 rows a second, and line 1 of the recording says 100" in error.message
    assert error.param == "rate_hz"


@pytest.mark.parametrize("comment", ["# heart rate: 72", "# low-pass filter frequency 5 Hz", "# baud rate 115200"])
def test_the_rate_of_something_else_is_not_the_sensors(comment):
    assert refusal(table(NAMES, f"{comment}\n")).param == "rate_hz"
    assert load(RECIPE, table(NAMES, f"{comment}\n"), {"rate_hz": 50}, LIMITS).shape == (1, 6, 2000)


def test_two_rates_of_two_sensors_are_one_by_the_times_of_either():
    data = table(["time (s)", *NAMES], "# acc rate 50, gyro rate 25\n", np.arange(120) / 50)
    assert load(RECIPE, data, {}, LIMITS).shape == (1, 6, 2000)
    assert "line 1 of the recording says 25" in refusal(table(NAMES, "# acc rate 50, gyro rate 25\n")).message


def test_units_of_a_comment_count_and_must_agree_with_the_header():
    wanted = load(RECIPE, table(NAMES), {"rate_hz": 50, "units": "g deg/s"}, LIMITS)
    said = table(NAMES, "# units: g, deg/s\n")
    assert load(RECIPE, said, {"rate_hz": 50}, LIMITS) == pytest.approx(wanted)
    other = table(["ax (m/s2)", *NAMES[1:]], "# units: g, deg/s\n")
    words = "line 2, column 1 of the recording says m/s2, and line 1 of the recording says g"
    assert words in refusal(other, rate_hz=50).message


@pytest.mark.parametrize("units", ["g deg/s", {"accelerometer": "g", "gyroscope": "deg/s"}])
def test_units_of_a_json_count_and_must_agree_with_the_caller(units):
    body = {"accelerometer": ROWS[:, :3].tolist(), "gyroscope": ROWS[:, 3:].tolist(), "fs": 50, "units": units}
    wanted = load(RECIPE, table(NAMES), {"rate_hz": 50, "units": "g deg/s"}, LIMITS)
    data = json.dumps(body).encode()
    assert load(RECIPE, data, {}, LIMITS) == pytest.approx(wanted)
    assert "the units in the JSON says g, and units says m/s2" in refusal(data, units="m/s2").message


def test_times_in_another_unit_than_their_column_says_are_refused():
    data = table(["time (s)", *NAMES], times=np.arange(120) * 20)
    assert "column 1 of the recording tell 0.05 rows a second; it must be 1 to 100000" in refusal(data).message


def test_axes_of_a_header_without_sensors_are_followed_or_refused():
    turned = ROWS[:, [2, 1, 0, 5, 4, 3]]
    lines = "\n".join(",".join(map(str, row)) for row in turned)
    plain = load(RECIPE, table(NAMES), {"rate_hz": 50}, LIMITS)
    array, notes = read(RECIPE, f"z1,y1,x1,z2,y2,x2\n{lines}".encode(), {"rate_hz": 50}, LIMITS)
    assert array == pytest.approx(plain)
    assert any("names no sensor" in one for one in notes.warnings)
    mixed = refusal(f"x1,x2,y1,y2,z1,z2\n{lines}".encode(), rate_hz=50)
    assert "the axes x, x, y, y, z, z" in mixed.message


@pytest.mark.parametrize("units", ["g m/s2", "deg/s rad/s"])
def test_two_units_of_one_sensor_are_refused(units):
    assert refusal(table(NAMES), rate_hz=50, units=units).param == "units"


def test_a_column_that_is_named_twice_is_refused_with_both_places():
    error = refusal(table(["ax", "acc x", *NAMES[2:]]), rate_hz=50)
    words = "line 1, column 1 of the recording and line 1, column 2 of the recording both name accelerometer x"
    assert words in error.message
