"""From tables to one recording: the six channels in their order and units, on times of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media.motion.names import ACCELEROMETER, CHANNELS, GYROSCOPE, TIME, Named, understand
from pandagpt_core.media.motion.table import Column, Table, remark_missing

ORDER = "accelerometer x, y, z, then gyroscope x, y, z"
COLUMNS = len(CHANNELS)
_RATES = (4.0, 4000.0)  # Hz of a recording, by which the unit of unnamed times is found
_UNITS_OF_TIME = (1.0, 1e-3, 1e-6, 1e-9)

Channel = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Signal:
    """One channel in m/s^2 or rad/s. `times` in seconds, sorted; None where rows alone count."""

    values: Column
    times: Column | None


@dataclass(frozen=True, slots=True)
class Recording:
    """The channels in the order of `CHANNELS`. `rate_hz` is what the file states beside its times."""

    signals: tuple[Signal, ...]
    rate_hz: float | None = None


def of_table(table: Table, units: Mapping[str, float]) -> Recording:
    """A table with both sensors. `units` are the caller's factors by sensor."""
    return joined([(table, "")], units)


def joined(tables: Sequence[tuple[Table, str]], units: Mapping[str, float]) -> Recording:
    """Several tables, each with the sensor whose axes it holds, or "". Raises InvalidMedia for what is missing."""
    found: dict[Channel, Signal] = {}
    linear: dict[Channel, Signal] = {}
    for table, within in tables:
        for channel, signal, is_linear in _signals(table, within, units):
            held = linear if is_linear else found
            if channel in held:
                raise InvalidMedia(f"the recording names {channel[0]} {channel[1]} twice")
            held[channel] = signal
    if not any(channel in found for channel in CHANNELS[:3]):
        found |= linear
    elif linear:
        notes.warn("linear acceleration is dropped: the accelerometer is there")
    missing = [f"{sensor} {axis}" for sensor, axis in CHANNELS if (sensor, axis) not in found]
    if missing:
        named = ", ".join(f"{sensor} {axis}" for sensor, axis in found) or "no sensor"
        raise InvalidMedia(f"the recording lacks {', '.join(missing)}; it names {named}")
    signals = tuple(found[channel] for channel in CHANNELS)
    remark_missing([signal.values for signal in signals])
    return Recording(signals, next((table.rate_hz for table, _ in tables if table.rate_hz), None))


def _signals(table: Table, within: str, units: Mapping[str, float]) -> list[tuple[Channel, Signal, bool]]:
    named = _understood(table, within)
    times = _times(table, named)
    order = np.argsort(times, kind="stable") if times is not None else None
    if times is not None and order is not None and np.any(np.diff(times) < 0):
        notes.warn("the rows are not in the order of their times; they are sorted")
    dropped = sorted({one.kind for one in named if one.kind not in (ACCELEROMETER, GYROSCOPE, TIME, "")})
    if dropped:
        notes.warn(f"columns that the model does not take are dropped: {', '.join(dropped)}")
    signals = []
    for one, column in zip(named, table.columns, strict=True):
        if one.kind in (ACCELEROMETER, GYROSCOPE):
            factor = units.get(one.kind, one.factor if one.factor is not None else 1.0)
            values = column * factor
            ordered = (values, None) if order is None or times is None else (values[order], times[order])
            signals.append(((one.kind, one.axis), Signal(*ordered), one.linear))
            notes.fact(f"{one.kind} {one.axis}", f"factor {factor:g}")
    return signals


def _understood(table: Table, within: str) -> list[Named]:
    width = len(table.columns)
    plain = [Named(*channel) for channel in CHANNELS]
    if not table.names:
        if within and width in (3, 4):
            return [*[Named(TIME)] * (width - 3), *(Named(within, axis) for axis in "xyz")]
        if width in (COLUMNS, COLUMNS + 1) and (width == COLUMNS or _is_time(table.columns[0])):
            return [*[Named(TIME)] * (width - COLUMNS), *plain]
        raise InvalidMedia(f"a row of the recording has {width} columns; without a header it needs {ORDER} ({COLUMNS})")
    named = [understand(name, within) for name in table.names]
    if any(one.kind in (ACCELEROMETER, GYROSCOPE) for one in named):
        return named
    rest = [one for one in named if one.kind == ""]
    if len(rest) != COLUMNS:
        raise InvalidMedia(f"no column of the recording's header names a sensor; it needs {ORDER}")
    notes.warn(f"the header names no sensor; the columns are taken as {ORDER}")
    places = iter(plain)
    return [next(places) if one.kind == "" else one for one in named]


def _is_time(column: Column) -> bool:
    """Whether a column of numbers without a name only grows."""
    return len(column) > 1 and bool(np.all(np.diff(column) > 0))


def _times(table: Table, named: Sequence[Named]) -> Column | None:
    """Seconds of each row; None where no column tells time."""
    for index in _time_columns(table, named):
        column = table.columns[index]
        if np.isnan(column).any() or len(column) < 2:
            continue
        steps = np.diff(np.unique(column))
        if not len(steps):
            continue
        step = float(np.median(steps))
        if (named[index].factor is None) and step == 1.0 and np.all(steps == 1.0):
            continue  # a count of rows
        factor = named[index].factor or _guessed(step)
        if factor is not None:
            notes.fact("time", f"column {index + 1}, {factor:g} s a step of 1")
            return np.asarray((column - column.min()) * factor)
    return None


def _time_columns(table: Table, named: Sequence[Named]) -> list[int]:
    """Candidates, the one that names its unit or that several devices share first."""
    found = [index for index, one in enumerate(named) if one.kind == TIME]
    return sorted(found, key=lambda index: (named[index].factor is None, not _canonical(table, index)))


def _canonical(table: Table, index: int) -> bool:
    return bool(table.names) and "canonical" in table.names[index].lower()


def _guessed(step: float) -> float | None:
    """Seconds in a step of 1, of those under which the rate is one of a recording."""
    return next((unit for unit in _UNITS_OF_TIME if _RATES[0] <= 1 / (step * unit) <= _RATES[1]), None)
