"""IMU recordings: three file forms, resampling in time, and what is refused."""

import json

import numpy as np
import pytest

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load

RECIPE, LIMITS = "imu-v1", Limits()


def ramp(rows: int) -> np.ndarray:
    """Column c of row i is i + 1000 c, so that values tell their time and place."""
    return np.arange(rows)[:, None] + 1000.0 * np.arange(6)


def csv(rows: np.ndarray, header: str = "", mark: str = ",") -> bytes:
    lines = [mark.join(str(value) for value in row) for row in rows]
    return "\n".join(([header] if header else []) + lines).encode()


def test_five_seconds_become_two_thousand_steps_in_order(make):
    array = load(RECIPE, make.npy(ramp(1000)), {"rate_hz": 200}, LIMITS)
    assert array.shape == (1, 6, 2000)
    assert array.dtype == np.float32
    assert array[0, 0, :5].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert array[0, :, 100].tolist() == [50.0, 1050.0, 2050.0, 3050.0, 4050.0, 5050.0]


def test_every_file_form_gives_the_same_array(make):
    rows = ramp(50)
    split = {"accelerometer": rows[:, :3].tolist(), "gyroscope": rows[:, 3:].tolist(), "rate_hz": 10}
    short = {"accel": split["accelerometer"], "gyro": split["gyroscope"]}
    forms = [
        make.npy(rows),
        make.npy(np.ascontiguousarray(rows.T)),
        make.npy(np.asfortranarray(rows)),
        make.npy(rows.astype(np.int32)),
        csv(rows),
        csv(rows, "ax,ay,az,gx,gy,gz"),
        csv(rows, "acc_x;acc_y;acc_z;gyr_x;gyr_y;gyr_z", ";"),
        b"\xef\xbb\xbf" + csv(rows, mark="\t") + b"\r\n\r\n",
        json.dumps(rows.tolist()).encode(),
        json.dumps(split).encode(),
        b"  " + json.dumps(short).encode(),
    ]
    arrays = [load(RECIPE, form, {"rate_hz": 10.0}, LIMITS) for form in forms]
    assert all(np.array_equal(array, arrays[0]) for array in arrays)


def test_the_rate_may_stand_in_the_json_and_the_parameter_must_agree():
    body = {"accelerometer": ramp(50)[:, :3].tolist(), "gyroscope": ramp(50)[:, 3:].tolist(), "rate_hz": 10}
    data = json.dumps(body).encode()
    for given in ({}, {"rate_hz": 10}):
        assert load(RECIPE, data, given, LIMITS)[0, 0, 400] == pytest.approx(10.0)
    with pytest.raises(InvalidMedia, match="rate_hz says 5 rows a second, and the rate in the JSON says 10") as caught:
        load(RECIPE, data, {"rate_hz": 5}, LIMITS)
    assert caught.value.param == "rate_hz"


def test_a_longer_recording_gives_its_middle(make):
    array = load(RECIPE, make.npy(ramp(1500)), {"rate_hz": 100}, LIMITS)
    assert array[0, 0, 0] == pytest.approx(500.0)
    assert array[0, 0, -1] == pytest.approx(999.75)


def test_a_shorter_recording_is_repeated(make):
    array = load(RECIPE, make.npy(ramp(100)), {"rate_hz": 100}, LIMITS)
    assert array[0, 0, 0:400:40].tolist() == array[0, 0, 400:800:40].tolist()
    assert array[0, 0, 396] == pytest.approx(99.0)


def test_a_signal_keeps_its_frequency_whatever_its_rate(make):
    for rate in (50, 200, 400, 1000):
        times = np.arange(6 * rate) / rate
        rows = np.repeat(np.sin(2 * np.pi * 2 * (times - 0.5))[:, None], 6, axis=1)
        array = load(RECIPE, make.npy(rows), {"rate_hz": rate}, LIMITS)
        assert array[0, 3] == pytest.approx(np.sin(2 * np.pi * 2 * np.arange(2000) / 400), abs=0.02)


def test_no_rate_is_refused_naming_it(make):
    with pytest.raises(InvalidMedia, match="rate_hz is required") as caught:
        load(RECIPE, make.npy(ramp(50)), {}, LIMITS)
    assert caught.value.param == "rate_hz"


@pytest.mark.parametrize("rate", [0, -1, 0.5, 2e5, float("nan"), float("inf"), "100", True])
def test_an_impossible_rate_is_refused(make, rate):
    with pytest.raises(InvalidMedia) as caught:
        load(RECIPE, make.npy(ramp(50)), {"rate_hz": rate}, LIMITS)
    assert caught.value.param == "rate_hz"


@pytest.mark.parametrize("columns", [1, 5, 7])
def test_another_column_count_is_refused_naming_it(make, columns):
    rows = np.ones((20, columns))
    for data in (csv(rows), json.dumps(rows.tolist()).encode()):
        with pytest.raises(InvalidMedia, match=f"has {columns} columns"):
            load(RECIPE, data, {"rate_hz": 10}, LIMITS)
    with pytest.raises(InvalidMedia, match=f"20 by {columns}"):
        load(RECIPE, make.npy(rows), {"rate_hz": 10}, LIMITS)


def test_a_header_in_another_order_is_followed():
    rows = ramp(20) + np.arange(6)
    swapped = load(RECIPE, csv(rows, "gyro_x,gyro_y,gyro_z,acc_x,acc_y,acc_z"), {"rate_hz": 10}, LIMITS)
    plain = load(RECIPE, csv(rows), {"rate_hz": 10}, LIMITS)
    assert swapped[0, [3, 4, 5, 0, 1, 2]] == pytest.approx(plain[0])


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "1e400", ""])
def test_a_cell_without_a_number_is_filled_from_its_neighbours(word):
    rows = "1,2,3,4,5,6\n" * 3 + f"1,2,{word},4,5,6\n" + "1,2,3,4,5,6\n" * 3
    array = load(RECIPE, rows.encode(), {"rate_hz": 10}, LIMITS)
    assert array[0, 2] == pytest.approx(3.0)


def test_a_word_among_numbers_is_refused_with_line_and_column():
    with pytest.raises(InvalidMedia, match="line 3, column 2 of the recording holds no number"):
        load(RECIPE, b"1,2,3,4,5,6\n1,2,3,4,5,6\n1,x,3,4,5,6", {"rate_hz": 10}, LIMITS)


def test_numbers_beyond_float32_are_refused():
    with pytest.raises(InvalidMedia, match="32-bit"):
        load(RECIPE, b"1,2,3,4,5,6\n1,2,1e39,4,5,6", {"rate_hz": 10}, LIMITS)


@pytest.mark.parametrize(
    "data",
    [
        b"1,2,3,4,5,6",
        b"   \n ",
        b"ax,ay,az,gx,gy,gz",
        b"[]",
        b"{}",
        b'{"accel": [[1,2,3]]}',
        b'{"accel": [[1,2,3],[1,2,3]], "gyro": [[1,2,3]]}',
        b'{"accel": "x", "gyro": []}',
        b"[[1,2,3,4,5,NaN],[1,2,3,4,5,6]]",
        b"[[1,2,3,4,5,true],[1,2,3,4,5,6]]",
        b"[" * 100_000,
        b"a,b,c,d,e,f\n1,2,3,4,5,x",
        b"\xff\xfe1,2",
    ],
)
def test_what_is_no_recording_is_refused(data):
    with pytest.raises(InvalidMedia):
        load(RECIPE, data, {"rate_hz": 10}, LIMITS)


def test_rows_and_bytes_are_bounded(make):
    few = Limits(imu_rows=99)
    for data in (make.npy(ramp(100)), json.dumps(ramp(100).tolist()).encode(), csv(ramp(100))):
        with pytest.raises(InvalidMedia, match="has 100 rows; the limit is 99"):
            load(RECIPE, data, {"rate_hz": 10}, few)
    with pytest.raises(InvalidMedia, match="the limit is 64"):
        load(RECIPE, csv(ramp(100)), {"rate_hz": 10}, Limits(table_bytes=64))
    wide = csv(ramp(3)) + b"\n" + b"1" * 100_000 + b",1,1,1,1,1"
    with pytest.raises(InvalidMedia, match="a line of the recording has 100010 characters; the limit is 65536"):
        load(RECIPE, wide, {"rate_hz": 10}, LIMITS)


def test_the_table_of_ego4d_is_read_by_its_canonical_times(make):
    """https://ego4d-data.org/docs/data/imu: two times a row, the gyroscope first; the devices' own times drift."""
    rows = np.column_stack([np.arange(1000) * 5.003 + 1e6, np.arange(1000) * 5.0, ramp(1000)[:, [3, 4, 5, 0, 1, 2]]])
    names = "component_timestamp_ms,canonical_timestamp_ms,gyro_x,gyro_y,gyro_z,accl_x,accl_y,accl_z"
    plain = load(RECIPE, make.npy(ramp(1000)), {"rate_hz": 200}, LIMITS)
    array = load(RECIPE, csv(rows, names), {}, LIMITS)
    assert array[..., :1990] == pytest.approx(plain[..., :1990])  # the last row's end is not in its times


@pytest.mark.parametrize("cell", [" 1.5 ", "1.5", '"1.5"'])
def test_blanks_and_quotes_around_a_cell_change_nothing(cell):
    rows = [["0"] * 6 for _ in range(10)]
    plain = "\n".join(",".join(row) for row in [*rows, ["1.5"] * 6]).encode()
    other = "\n".join(",".join(row) for row in [*rows, [cell] * 6]).encode()
    assert load(RECIPE, other, {"rate_hz": 10}, LIMITS) == pytest.approx(load(RECIPE, plain, {"rate_hz": 10}, LIMITS))
