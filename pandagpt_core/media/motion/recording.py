"""From tables to one recording: the six channels in their order and units, on times of their own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media.motion.names import FORMS, LINEAR, NOTHING, TIME, Named, understand
from pandagpt_core.media.motion.stated import StatedRate, StatedUnit, Units, agreed
from pandagpt_core.media.motion.table import Table, remark_missing
from pandagpt_core.media.motion.units import ACCELEROMETER, CHANNELS, GYROSCOPE, UNITS
from pandagpt_core.ndarrays import Float64Array

ORDER = "accelerometer x, y, z, then gyroscope x, y, z"
SENSORS = (ACCELEROMETER, GYROSCOPE)
COLUMNS = len(CHANNELS)
_RATES = (4.0, 4000.0)  # Hz of a recording, by which the unit of unnamed times is found
_UNITS_OF_TIME = (1.0, 1e-3, 1e-6, 1e-9)

Channel = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Signal:
    """One channel in m/s^2 or rad/s. `times` in seconds, sorted; None where rows alone count.

    `place` is that of its name, `clock` that of its times' column.
    """

    values: Float64Array
    times: Float64Array | None
    place: str
    clock: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """The channels in the order of `CHANNELS`. `rates` are stated beside its times; `linear`: without gravity."""

    signals: tuple[Signal, ...]
    rates: tuple[StatedRate, ...] = ()
    linear: bool = False


Forms = dict[str, dict[str, Signal]]  # by form, then axis, of one sensor


def of_table(table: Table, units: Units) -> Recording:
    """A table with both sensors. `units` are the caller's by sensor."""
    return joined_tables([(table, NOTHING)], units)


def joined_tables(tables: Sequence[tuple[Table, Named]], units: Units) -> Recording:
    """Several tables, each with the sensor whose axes it holds, or nothing. Raises InvalidMedia for missing parts."""
    found: dict[str, Forms] = {ACCELEROMETER: {}, GYROSCOPE: {}}
    for table, within in tables:
        for named, signal in _signals(table, within, units):
            axes = found[named.kind].setdefault(named.form, {})
            if named.axis in axes:
                both = f"{axes[named.axis].place} and {signal.place}"
                raise InvalidMedia(f"{both} both name {named.kind} {named.axis}; one is needed")
            axes[named.axis] = signal
    _check_complete(found)
    chosen = {sensor: _chosen(sensor, forms) for sensor, forms in found.items()}
    signals = tuple(found[sensor][chosen[sensor]][axis] for sensor, axis in CHANNELS)
    remark_missing([signal.values for signal in signals])
    rates = tuple(rate for table, _ in tables for rate in table.rates)
    return Recording(signals, rates, chosen[ACCELEROMETER] == LINEAR)


def _check_complete(found: dict[str, Forms]) -> None:
    missing = [
        f"{sensor} {axis}" for sensor, axis in CHANNELS if not any(axis in axes for axes in found[sensor].values())
    ]
    if missing:
        present = [f"{sensor} {axis}" for sensor, axis in CHANNELS if f"{sensor} {axis}" not in missing]
        named = ", ".join(present) or "no sensor"
        raise InvalidMedia(f"the recording lacks {', '.join(missing)}; it names {named}")


def _chosen(sensor: str, forms: Forms) -> str:
    """The first of `FORMS` that a sensor has with three axes; remarks what is dropped."""
    whole = [form for form in FORMS if len(forms.get(form, {})) == 3]
    if not whole:
        raise InvalidMedia(f"the recording has no {sensor} with all of x, y and z")
    chosen = whole[0]
    if dropped := [form or "plain" for form in FORMS if form in forms and form != chosen]:
        notes.warn(f"of the {sensor} the {chosen or 'plain'} columns are read; dropped are: {', '.join(dropped)}")
    if chosen == LINEAR:
        notes.warn("the acceleration is linear, which is without gravity; the model expects it with gravity")
    return chosen


def _signals(table: Table, within: Named, units: Units) -> list[tuple[Named, Signal]]:
    named = _understood(table, within)
    clock, times = _times(table, named)
    order = np.argsort(times, kind="stable") if times is not None else None
    if times is not None and order is not None and np.any(np.diff(times) < 0):
        notes.warn("the rows are not in the order of their times; they are sorted")
    moments = None if times is None or order is None else times[order]
    dropped = sorted({one.kind for one in named if one.kind not in (ACCELEROMETER, GYROSCOPE, TIME, "")})
    if dropped:
        notes.warn(f"columns that the model does not take are dropped: {', '.join(dropped)}")
    signals = []
    for index, (one, column) in enumerate(zip(named, table.columns, strict=True)):
        if one.kind in (ACCELEROMETER, GYROSCOPE):
            if index in table.words:
                raise InvalidMedia(f"line {table.words[index]}, column {index + 1} of {table.called} holds no number")
            place = table.place(index)
            factor = _factor(one, place, [stated[one.kind] for stated in (table.units, units) if one.kind in stated])
            values = column * factor
            signals.append((one, Signal(values if order is None else values[order], moments, place, clock)))
            notes.fact(f"{one.kind} {one.axis}", f"factor {factor:g}")
    return signals


def _factor(named: Named, place: str, stated: Sequence[StatedUnit]) -> float:
    """To m/s^2 or rad/s, by the column's name and the unit stated beside it. Raises InvalidMedia where two differ."""
    if named.unit is not None and named.unit.sensor != named.kind:
        takes = ", ".join(unit.name for unit in UNITS.values() if unit.sensor == named.kind)
        raise InvalidMedia(f"{place} says {named.unit.name}; the units of the {named.kind} are {takes}")
    own = [] if named.unit is None else [StatedUnit(named.unit, place)]
    unit = agreed([*own, *stated])
    return 1.0 if unit is None else unit.factor


def _understood(table: Table, within: Named) -> list[Named]:
    width = len(table.columns)
    plain = [Named(*channel) for channel in CHANNELS]
    if not table.names:
        if within.kind and width in (3, 4):
            return [*[Named(TIME)] * (width - 3), *(replace(within, axis=axis) for axis in "xyz")]
        if width in (COLUMNS, COLUMNS + 1) and (width == COLUMNS or _is_time(table.columns[0])):
            return [*[Named(TIME)] * (width - COLUMNS), *plain]
        raise InvalidMedia(f"a row of the recording has {width} columns; without a header it needs {ORDER} ({COLUMNS})")
    named = [understand(name, within) for name in table.names]
    if any(one.kind in (ACCELEROMETER, GYROSCOPE) for one in named):
        return named
    rest = [one for one in named if one.kind == ""]
    if len(rest) != COLUMNS:
        raise InvalidMedia(f"no column of the recording's header names a sensor; it needs {ORDER}")
    notes.warn(f"the header names no sensor; the columns are taken as {' then '.join(SENSORS)}")
    places = iter(_nameless(rest))
    return [next(places) if one.kind == "" else one for one in named]


def _nameless(columns: Sequence[Named]) -> list[Named]:
    """Six columns of which none names a sensor: accelerometer then gyroscope, by the axes where all name one."""
    axes = [one.axis for one in columns]
    if not any(axes):
        axes = [*"xyz"] * 2
    if sorted(axes[:3]) != [*"xyz"] or sorted(axes[3:]) != [*"xyz"]:
        named = ", ".join(axis or "none" for axis in axes)
        raise InvalidMedia(f"the header names no sensor, and the axes {named}; it needs {ORDER}")
    return [Named(sensor, axis) for (sensor, _), axis in zip(CHANNELS, axes, strict=True)]


def _is_time(column: Float64Array) -> bool:
    """Whether a column of numbers without a name only grows."""
    return len(column) > 1 and bool(np.all(np.diff(column) > 0))


def _times(table: Table, named: Sequence[Named]) -> tuple[str, Float64Array | None]:
    """The place of a column of times, and the seconds of each row; None where no column holds times."""
    for index in _time_columns(table, named):
        column = table.columns[index]
        if np.isnan(column).any() or len(column) < 2:
            continue
        steps = np.diff(np.unique(column))
        if not len(steps):
            continue
        step = float(np.median(steps))
        if (named[index].seconds is None) and step == 1.0 and np.all(steps == 1.0):
            continue  # a count of rows
        factor = named[index].seconds or _guessed(step)
        if factor is not None:
            notes.fact("time", f"column {index + 1}, {factor:g} s a step of 1")
            return table.place(index), np.asarray((column - column.min()) * factor)
    return "", None


def _time_columns(table: Table, named: Sequence[Named]) -> list[int]:
    """Candidates, the one that names its unit or that several devices share first."""
    found = [index for index, one in enumerate(named) if one.kind == TIME]
    return sorted(found, key=lambda index: (named[index].seconds is None, not _canonical(table, index)))


def _canonical(table: Table, index: int) -> bool:
    return bool(table.names) and "canonical" in table.names[index].lower()


def _guessed(step: float) -> float | None:
    """Seconds in a step of 1, of those under which the rate is one of a recording."""
    return next((unit for unit in _UNITS_OF_TIME if _RATES[0] <= 1 / (step * unit) <= _RATES[1]), None)
