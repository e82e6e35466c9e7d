"""IMU recordings to [1, 6, 2000]: five seconds of accelerometer (m/s^2) and gyroscope (rad/s), x y z each.

The window and step count are ImageBind's (Girdhar et al. 2023, section 4); its release holds no IMU loader. Channel
order and the absence of normalisation are ours, as the release documents neither.
"""

import numpy as np
import numpy.typing as npt

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media import params as p
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.media.motion.files import read_recording
from pandagpt_core.media.motion.names import UNITS
from pandagpt_core.media.motion.recording import COLUMNS, Recording, Signal

STEPS, SECONDS = 2000, 5.0
SLOWEST_HZ, FASTEST_HZ = 1.0, 100_000.0
_AGREE = 0.1  # share by which a rate that is given may differ from the one that the times tell
_GAP_S = 1.0
_WHY = "rows a second; nothing in the recording tells it"
_STILL = (0.02, 0.01)  # deviation of the accelerometer in m/s^2, largest rate of the gyroscope in rad/s
_WILD_RAD_S, _FEW_G = 40.0, 2.0  # beyond, below: the unit is likely another

Float = npt.NDArray[np.float64]


def resampled(data: bytes, params: p.Params, limits: Limits) -> npt.NDArray[np.float32]:
    """A recording that says what its columns are (`motion`), or the six columns in their order.

    `rate_hz` is needed only where neither times nor the file tell it, `units` ("g deg/s") where its names do not.
    Linear in time, to 400 Hz. A longer recording gives its middle five seconds; a shorter one is repeated, since
    holding the last value would say that the body then froze.
    """
    p.only(params, ("rate_hz", "units"))
    recording = read_recording(data, limits, _units(params))
    given = p.number(params, "rate_hz", SLOWEST_HZ, FASTEST_HZ)
    rows, rate = _uniform(recording, given, limits)
    if np.abs(rows).max() > np.finfo(np.float32).max:
        raise InvalidMedia("the recording holds numbers beyond 32-bit floats")
    notes.fact("rate", f"{rate:g} Hz, {len(rows)} rows, {len(rows) / rate:.2f} s")
    _remark(rows)
    return _five_seconds(rows, rate).T.astype(np.float32)[None]


def _units(params: p.Params) -> dict[str, float]:
    """The factors by sensor that `units` names."""
    text = params.get("units")
    if text is None:
        return {}
    words = str(text).split()
    if not words or any(word not in UNITS for word in words):
        raise InvalidMedia("units must be of m/s2, g, rad/s, deg/s, one or one a sensor, as in g deg/s", param="units")
    return {UNITS[word][0]: UNITS[word][1] for word in words}


def _uniform(recording: Recording, given: float | None, limits: Limits) -> tuple[Float, float]:
    """Rows [N, 6] at one rate, and that rate."""
    count = max(len(signal.values) for signal in recording.signals)
    check(count, limits.imu_rows, "the recording", "rows")
    if min(len(signal.values) for signal in recording.signals) < 2:
        raise InvalidMedia(f"the recording has {count} rows; at least 2 are needed")
    measured = _measured(recording.signals)
    if measured is None:
        stated = given if given is not None else recording.rate_hz
        rate = p.required({"rate_hz": stated} if stated is not None else {}, "rate_hz", SLOWEST_HZ, FASTEST_HZ, _WHY)
        length = min(len(signal.values) for signal in recording.signals)
        return np.stack([_filled(signal.values[:length]) for signal in recording.signals], axis=1), rate
    if given is not None and abs(given - measured) > _AGREE * measured:
        words = f"rate_hz is {given:g}, and the times of the recording tell {measured:.4g} rows a second"
        raise InvalidMedia(f"{words}; leave rate_hz out, or the times", param="rate_hz")
    return _on_grid(recording.signals, measured, limits), measured


def _measured(signals: tuple[Signal, ...]) -> float | None:
    """Rows a second by the times, None where there are none; of the fastest sensor."""
    rates = []
    for signal in signals:
        if signal.times is None:
            return None
        steps = np.diff(np.unique(signal.times[np.isfinite(signal.values)]))
        if len(steps):
            rates.append(1 / float(np.median(steps)))
    rate = max(rates, default=0.0)
    return min(max(rate, SLOWEST_HZ), FASTEST_HZ) if rate else None


def _on_grid(signals: tuple[Signal, ...], rate: float, limits: Limits) -> Float:
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


def _known(signal: Signal) -> tuple[Float, Float]:
    """Times and values of a channel's readings, of equal times the first."""
    assert signal.times is not None
    there = np.isfinite(signal.values)
    times, first = np.unique(signal.times[there], return_index=True)
    if len(times) < 2:
        raise InvalidMedia("a channel of the recording has fewer than 2 readings")
    return times, signal.values[there][first]


def _filled(values: Float) -> Float:
    there = np.isfinite(values)
    if there.all():
        return values
    if there.sum() < 2:
        raise InvalidMedia("a channel of the recording has fewer than 2 readings")
    at = np.arange(len(values))
    return np.interp(at, at[there], values[there])


def _remark(rows: Float) -> None:
    moving, turning = rows[:, :3], rows[:, 3:]
    if moving.std(axis=0).max() < _STILL[0] and np.abs(turning).max() < _STILL[1]:
        notes.empty("The recording is motionless.")
    size = float(np.median(np.linalg.norm(moving, axis=1)))
    if 0.1 < size < _FEW_G:
        notes.warn(f"the accelerometer's size is mostly {size:.2g} m/s^2, less than gravity: are its units g?")
    if np.abs(turning).max() > _WILD_RAD_S:
        notes.warn(f"the gyroscope reaches {np.abs(turning).max():.0f} rad/s: are its units deg/s?")


def _five_seconds(rows: Float, rate: float) -> Float:
    """[2000, 6] from [N, 6] at `rate`."""
    start = max(0.0, len(rows) / rate - SECONDS) / 2
    notes.spans([(start, min(start + SECONDS, len(rows) / rate))])
    if len(rows) < SECONDS * rate:
        rows = np.resize(rows, (int(np.ceil(SECONDS * rate)) + 1, COLUMNS))  # repeats whole rows from the start
    at = start + np.arange(STEPS) * (SECONDS / STEPS)
    times = np.arange(len(rows)) / rate
    return np.stack([np.interp(at, times, column) for column in rows.T], axis=1)
