"""IMU recordings to [1, 6, 2000]: five seconds of accelerometer (m/s^2) and gyroscope (rad/s), x y z each.

The window and step count are ImageBind's (Girdhar et al. 2023, section 4); its release holds no IMU loader. Channel
order and the absence of normalisation are ours, as the release documents neither.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media import params as p
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.media.motion.files import read_recording
from pandagpt_core.media.motion.recording import COLUMNS, Recording, Signal
from pandagpt_core.media.motion.stated import StatedRate, Units, agreed_rate, close, units_of
from pandagpt_core.media.motion.units import UNITS
from pandagpt_core.modalities.builtin.motion import IMU, RATE
from pandagpt_core.ndarrays import Float64Array

STEPS, SECONDS = 2000, 5.0
_GAP_S = 1.0
_WHY = "rows a second; nothing in the recording tells it"
_STILL = (0.02, 0.01)  # deviation of the accelerometer in m/s^2, largest rate of the gyroscope in rad/s
_WILD_RAD_S, _MANY_G, _FEW_G = 40.0, 160.0, 2.0  # beyond, beyond, below: the unit is likely another


def resampled(data: bytes, params: p.Params, limits: Limits) -> npt.NDArray[np.float32]:
    """A recording that names its columns (`motion`), or the six columns in their order.

    `rate_hz` is needed only where neither times nor the file give it, `units` ("g deg/s") where its names do not.
    Linear in time, to 400 Hz. A longer recording gives its middle five seconds; a shorter one is repeated, since
    holding the last value would mean that the body then froze.
    """
    p.of_entry(params, IMU)
    recording = read_recording(data, limits, _units(params))
    given = p.number(params, RATE)
    rows, rate = _uniform(recording, given, limits)
    if np.abs(rows).max() > np.finfo(np.float32).max:
        raise InvalidMedia("the recording holds numbers beyond 32-bit floats")
    notes.fact("rate", f"{rate:g} Hz, {len(rows)} rows, {len(rows) / rate:.2f} s")
    _remark(rows, linear=recording.linear)
    return _five_seconds(rows, rate).T.astype(np.float32)[None]


def _units(params: p.Params) -> Units:
    """The units by sensor that `units` names."""
    text = params.get("units")
    if text is None:
        return {}
    words = str(text).split()
    if not words or any(word not in UNITS or not UNITS[word].sensor for word in words):
        raise InvalidMedia("units must be of m/s2, g, rad/s, deg/s, one or one a sensor, as in g deg/s", param="units")
    return units_of(words, "units", "units")


def _uniform(recording: Recording, given: float | None, limits: Limits) -> tuple[Float64Array, float]:
    """Rows [N, 6] at one rate, and that rate."""
    count = max(len(signal.values) for signal in recording.signals)
    check(count, limits.imu_rows, "the recording", "rows")
    if min(len(signal.values) for signal in recording.signals) < 2:
        raise InvalidMedia(f"the recording has {count} rows; at least 2 are needed")
    measured = _measured(recording.signals)
    own = [StatedRate(given, "rate_hz", "rate_hz")] if given is not None else []
    if measured:
        _check_agree(measured, own)
        _check_agree(measured, recording.rates)
        rate = max(one.hz for one in measured)
        return _on_grid(recording.signals, rate, limits), rate
    agreed = agreed_rate([*own, *recording.rates])
    rate = p.required({RATE.name: agreed} if agreed is not None else {}, RATE, _WHY)
    length = min(len(signal.values) for signal in recording.signals)
    return np.stack([_filled(signal.values[:length]) for signal in recording.signals], axis=1), rate


def _check_agree(measured: list[StatedRate], stated: Sequence[StatedRate]) -> None:
    """Refuse where no sensor's times agree with a stated rate; of several, as one a sensor, one is enough."""
    if not stated or any(close(one.hz, other.hz) for one in stated for other in measured):
        return
    rates = ", ".join(f"{hz:.4g}" for hz in sorted({one.hz for one in measured}))
    words = f"{stated[0].place} says {stated[0].hz:g} rows a second, and the times in {measured[0].place} tell {rates}"
    raise InvalidMedia(f"{words}; they must agree", param=stated[0].param or None)


def _measured(signals: tuple[Signal, ...]) -> list[StatedRate]:
    """Rows a second by the times of each channel; empty where one has no times."""
    rates: list[StatedRate] = []
    for signal in signals:
        if signal.times is None:
            return []
        steps = np.diff(np.unique(signal.times[np.isfinite(signal.values)]))
        if len(steps):
            rates.append(StatedRate(1 / float(np.median(steps)), signal.clock))
    for one in rates:
        if not RATE.low <= one.hz <= RATE.high:
            words = f"the times in {one.place} tell {one.hz:.4g} rows a second"
            raise InvalidMedia(f"{words}; it must be {RATE.low:g} to {RATE.high:g}: is their unit another?")
    return rates


def _on_grid(signals: tuple[Signal, ...], rate: float, limits: Limits) -> Float64Array:
    """[N, 6] at `rate`, linear between readings, over the time that all channels cover."""
    known = [_known(signal) for signal in signals]
    start, end = max(times[0] for times, _ in known), min(times[-1] for times, _ in known)
    if end <= start:
        raise InvalidMedia("accelerometer and gyroscope cover no common time")
    gap = max(float(np.diff(times).max()) for times, _ in known)
    if gap > max(_GAP_S, 10 / rate):
        notes.warn(f"the recording has a gap of {gap:.2f} s; it is filled by a straight line")
    count = round((end - start) * rate) + 1
    check(count, limits.imu_rows, "the recording", "rows at its rate")
    grid = start + np.arange(count) / rate
    return np.stack([np.interp(grid, times, values) for times, values in known], axis=1)


def _known(signal: Signal) -> tuple[Float64Array, Float64Array]:
    """Times and values of a channel's readings, of equal times the first."""
    assert signal.times is not None
    there = np.isfinite(signal.values)
    times, first = np.unique(signal.times[there], return_index=True)
    if repeated := int(there.sum()) - len(times):
        notes.warn(f"{repeated:,} rows repeat the time of another; the first of each is read")
    if len(times) < 2:
        raise InvalidMedia("a channel of the recording has fewer than 2 readings")
    return times, signal.values[there][first]


def _filled(values: Float64Array) -> Float64Array:
    there = np.isfinite(values)
    if there.all():
        return values
    if there.sum() < 2:
        raise InvalidMedia("a channel of the recording has fewer than 2 readings")
    at = np.arange(len(values))
    return np.interp(at, at[there], values[there])


def _remark(rows: Float64Array, *, linear: bool) -> None:
    moving, turning = rows[:, :3], rows[:, 3:]
    if moving.std(axis=0).max() < _STILL[0] and np.abs(turning).max() < _STILL[1]:
        notes.empty("The recording is motionless.")
    size = float(np.median(np.linalg.norm(moving, axis=1)))
    if 0.1 < size < _FEW_G and not linear:
        notes.warn(f"the accelerometer's size is mostly {size:.2g} m/s^2, less than gravity: are its units g?")
    if size > _MANY_G:
        notes.warn(f"the accelerometer's size is mostly {size:.4g} m/s^2: are its units mg, or counts of the sensor?")
    if np.abs(turning).max() > _WILD_RAD_S:
        notes.warn(f"the gyroscope reaches {np.abs(turning).max():.0f} rad/s: are its units deg/s?")


def _five_seconds(rows: Float64Array, rate: float) -> Float64Array:
    """[2000, 6] from [N, 6] at `rate`."""
    start = max(0.0, len(rows) / rate - SECONDS) / 2
    notes.spans([(start, min(start + SECONDS, len(rows) / rate))])
    if len(rows) < SECONDS * rate:
        rows = np.resize(rows, (int(np.ceil(SECONDS * rate)) + 1, COLUMNS))  # repeats whole rows from the start
    at = start + np.arange(STEPS) * (SECONDS / STEPS)
    times = np.arange(len(rows)) / rate
    return np.stack([np.interp(at, times, column) for column in rows.T], axis=1)
