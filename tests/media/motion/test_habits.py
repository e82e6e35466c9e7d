"""Habits of recordings, as properties: what is dropped, holes, gaps, dates, Parquet, and contradictions."""

import io
import re
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load, read
from tests.media.conftest import Make

RECIPE, LIMITS = "imu-v1", Limits()
NAMES = ["ax", "ay", "az", "gx", "gy", "gz"]
TIMES = np.arange(300) / 50
ROWS = np.round(np.sin(np.arange(1800).reshape(300, 6) * 0.37) * 4 + np.arange(6), 4)
PLAIN = load(RECIPE, Make().npy(ROWS), {"rate_hz": 50.0}, LIMITS)
few = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def table(names: list[str], columns: list[object]) -> bytes:
    lines = [",".join(names), *(",".join(map(str, row)) for row in zip(*columns, strict=True))]
    return "\n".join(lines).encode()


@few
@given(
    others=st.lists(
        st.sampled_from(["mag_x", "magnetometer_y", "pressure", "temperature", "latitude"]), min_size=1, unique=True
    ),
    at=st.integers(0, 6),
    parquet=st.booleans(),
)
def test_columns_of_other_sensors_are_dropped_by_name_and_said(others, at, parquet):
    names = [*NAMES[:at], *others, *NAMES[at:]]
    columns = [ROWS[:, NAMES.index(name)] if name in NAMES else np.arange(300.0) for name in names]
    out = io.BytesIO()
    if parquet:
        pq.write_table(pa.table(dict(zip(names, columns, strict=True))), out)
    data = out.getvalue() if parquet else table(names, columns)
    array, notes = read(RECIPE, data, {"rate_hz": 50.0}, LIMITS)
    assert array == pytest.approx(PLAIN, abs=1e-5)
    (words,) = [one for one in notes.warnings if "dropped" in one]
    assert ("magnetometer" in words) == any("mag" in one for one in others)


@few
@given(
    word=st.sampled_from(["", "NaN", "nan"]),
    holes=st.sets(st.tuples(st.integers(1, 298), st.integers(0, 5)), min_size=1, max_size=30),
)
def test_empty_cells_and_nan_are_filled_by_a_straight_line(word, holes):
    cells, filled = ROWS.astype(object), ROWS.copy()
    for row, column in holes:
        cells[row, column] = word
        filled[row, column] = np.nan
    for column in range(6):
        known = ~np.isnan(filled[:, column])
        filled[:, column] = np.interp(np.arange(300), np.flatnonzero(known), filled[known, column])
    wanted = load(RECIPE, Make().npy(filled), {"rate_hz": 50.0}, LIMITS)
    assert load(RECIPE, table(NAMES, list(cells.T)), {"rate_hz": 50.0}, LIMITS) == pytest.approx(wanted, abs=1e-4)


@few
@given(begin=st.integers(30, 180), length=st.integers(55, 90))
def test_a_gap_is_filled_and_said(begin, length):
    kept = np.r_[:begin, begin + length : 300]
    _, notes = read(RECIPE, table(["time (s)", *NAMES], [TIMES[kept], *ROWS[kept].T]), {}, LIMITS)
    assert f"the recording has a gap of {(length + 1) / 50:.2f} s; it is filled by a straight line" in notes.warnings
    assert notes.facts["rate"].startswith("50 Hz")


@few
@given(start=st.datetimes(datetime(2001, 1, 1), datetime(2060, 1, 1)), zone=st.sampled_from(["", "Z", "+02:00"]))
def test_iso_times_give_the_rate(start, zone):
    stamps = [(start + timedelta(seconds=float(time))).isoformat(timespec="microseconds") + zone for time in TIMES]
    array = load(RECIPE, table(["timestamp", *NAMES], [stamps, *ROWS.T]), {}, LIMITS)
    assert array == pytest.approx(PLAIN, abs=0.02)


@few
@given(
    stated=st.sampled_from([20.0, 25.0, 104.0, 200.0]),
    comment=st.sampled_from(["# sampling rate: {} Hz", "# rate_hz={}"]),
)
def test_a_rate_in_a_comment_against_the_times_is_refused_with_both_places(stated, comment):
    data = f"{comment.format(stated)}\n".encode() + table(["time (s)", *NAMES], [TIMES, *ROWS.T])
    with pytest.raises(InvalidMedia, match=r"line 1.*line 2, column 1") as caught:
        load(RECIPE, data, {}, LIMITS)
    assert {f"{stated:g}", "50"} <= set(re.findall(r"[\d.]+", caught.value.message))


@few
@given(row=st.just(0) | st.integers(0, 299), column=st.integers(0, 5), word=st.sampled_from(["abc", "12x", "1.2.3"]))
def test_a_word_among_numbers_is_refused_with_line_and_column(row, column, word):
    cells = ROWS.astype(object)
    cells[row, column] = word
    with pytest.raises(InvalidMedia, match=f"line {row + 2}, column {column + 1}"):
        load(RECIPE, table(NAMES, list(cells.T)), {"rate_hz": 50.0}, LIMITS)
