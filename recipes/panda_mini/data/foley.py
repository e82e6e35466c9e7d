"""Effects made of sines and noise by this project: a second voice for things that the sound banks have once.

Each maker gives some two seconds at 16 kHz, other ones each time. They are caricatures, and nothing is claimed by them.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from numpy.fft import irfft, rfft

from pandagpt_core.media.sound.filterbank import RATE
from recipes.panda_mini.data.acoustics import coloured_noise

_COUNT = int(2.2 * RATE)
Wave = npt.NDArray[np.float64]
Rng = np.random.Generator


def _ramp(pair: Wave, count: int = _COUNT) -> Wave:
    return np.linspace(float(pair[0]), float(pair[1]), count)


def _time(count: int = _COUNT) -> Wave:
    return np.arange(count) / RATE


def _tone(hertz: Wave | float, overtones: Wave, count: int = _COUNT) -> Wave:
    """A sum of harmonics of a pitch that may glide; those above the Nyquist rate are left out."""
    glide = np.broadcast_to(np.asarray(hertz, float), (count,))
    phase = 2 * np.pi * np.cumsum(glide) / RATE
    return np.asarray(
        sum(a * np.sin(k * phase) * (k * glide < RATE / 2) for k, a in enumerate(overtones, start=1)), float
    )


def _band(low: float, high: float, rng: Rng, count: int = _COUNT) -> Wave:
    """Noise between two pitches."""
    spectrum = rfft(rng.normal(0, 1, count))
    pitch = np.arange(len(spectrum)) * RATE / count
    shaped = irfft(
        spectrum * np.exp(-((np.maximum(0, low - pitch) / low) ** 2) * 8 - np.maximum(0, pitch / high - 1) ** 2 * 8),
        count,
    )
    return np.asarray(shaped / max(shaped.std(), 1e-9))


def _slow(rng: Rng, per_second: float, low: float, high: float) -> Wave:
    """A random curve between two values with so many turns a second."""
    knots = rng.uniform(low, high, max(2, int(per_second * _COUNT / RATE) + 2))
    return np.interp(np.linspace(0, len(knots) - 1, _COUNT), np.arange(len(knots)), knots)


def _placed(pieces: list[tuple[float, Wave]]) -> Wave:
    """Pieces laid at their seconds over silence."""
    whole = np.zeros(_COUNT)
    for second, piece in pieces:
        at = int(second * RATE)
        if 0 <= at < _COUNT:
            part = piece[: _COUNT - at]
            whole[at : at + len(part)] += part
    return whole


def _decay(count: int, seconds: float) -> Wave:
    return np.exp(-_time(count) / seconds)


def rain(rng: Rng) -> Wave:
    drops = [
        (float(s), _band(2000, 7000, rng, 160) * _decay(160, 0.003) * rng.uniform(0, 2))
        for s in rng.uniform(0, 2.2, int(rng.integers(0, 150)))
    ]
    return _band(rng.uniform(400, 1500), rng.uniform(5000, 8000), rng) * _slow(rng, 2, 0.7, 1) + _placed(drops)


def wind(rng: Rng) -> Wave:
    low = rng.uniform(120, 500)
    whistle = _band(low * 1.5, low * 2, rng) * _slow(rng, 2, 0, 1.2)
    return (coloured_noise(_COUNT, 1.5, rng) + whistle) * _slow(rng, 2.5, 0.15, 1)


def wave(rng: Rng) -> Wave:
    swell = np.exp(-((_time() - rng.uniform(0.3, 1.9)) ** 2) / rng.uniform(0.1, 0.8))
    return _band(rng.uniform(150, 500), rng.uniform(2500, 6000), rng) * (0.2 + swell)


def thunderstorm(rng: Rng) -> Wave:
    start, length = rng.uniform(0, 0.4), rng.uniform(0.4, 1.5)
    envelope = np.where(_time() < start, 0, np.exp(-np.maximum(0, _time() - start) / length)) * _slow(rng, 9, 0.2, 1)
    crack = _placed([(start, rng.normal(0, 1, 4000) * _decay(4000, 0.06))]) * rng.uniform(0, 2)
    rumble = _band(40, rng.uniform(150, 600), rng) * envelope
    return rumble + crack + float(rng.choice([0, 0.05, 0.1])) * _band(1500, 6000, rng)


def dog(rng: Rng) -> Wave:
    base, period, count = rng.uniform(250, 800), rng.uniform(0.3, 0.9), int(RATE * rng.uniform(0.1, 0.25))
    shape = np.sin(np.linspace(0, np.pi, count)) ** 0.6
    glide = base * (0.7 + 0.6 * np.sin(np.linspace(0.3, np.pi, count)))
    barks = []
    for number in range(int(rng.integers(1, 6))):
        bark = _tone(glide * rng.uniform(0.92, 1.08), 1 / np.arange(1, 14) ** rng.uniform(0.4, 1.2), count)
        barks.append((0.05 + number * period, (bark + rng.uniform(0.2, 1) * _band(base, 4 * base, rng, count)) * shape))
    return _placed(barks)


def _hoof(rng: Rng) -> Wave:
    return _band(rng.uniform(300, 900), rng.uniform(900, 2500), rng, 900) * _decay(900, 0.012)


def horse(rng: Rng) -> Wave:
    if rng.random() < 0.5:  # hooves, in fours or threes
        beat = rng.uniform(0.35, 0.7)
        steps = [0, 0.14, 0.42, 0.56] if rng.random() < 0.5 else [0, 0.22, 0.4]
        return _placed([(n * beat + s * beat, _hoof(rng)) for n in range(8) for s in steps])
    count = int(RATE * rng.uniform(0.9, 1.8))  # a neigh: a fall with a tremble
    glide = np.linspace(rng.uniform(900, 1600), rng.uniform(350, 700), count)
    glide = glide * (1 + 0.07 * np.sin(2 * np.pi * rng.uniform(8, 16) * _time(count)))
    neigh = _tone(glide, 1 / np.arange(1, 9) ** 0.7, count) * np.sin(np.linspace(0.2, np.pi, count))
    tremble = 1 + 0.6 * np.sin(2 * np.pi * rng.uniform(8, 16) * _time(count))
    return _placed([(rng.uniform(0, 0.3), neigh * tremble + 0.3 * _band(800, 3000, rng, count))])


def bird(rng: Rng) -> Wave:
    songs = []
    for second in np.cumsum(rng.uniform(0.06, 0.5, 14)):
        count = int(RATE * rng.uniform(0.03, 0.2))
        start, end = rng.uniform(2000, 6500, 2)
        bend = 1 + rng.choice([0, 0.1]) * np.sin(2 * np.pi * rng.uniform(15, 60) * _time(count))
        chirp = _tone(np.linspace(start, end, count) * bend, np.array([1, 0.2, 0.05]), count)
        songs.append((float(second), chirp * np.sin(np.linspace(0, np.pi, count)) * rng.uniform(0.3, 1)))
    return _placed(songs)


def telephone(rng: Rng) -> Wave:
    if rng.random() < 0.5:  # two bells struck by a clapper
        low = rng.uniform(600, 2400)
        sound = _tone(low, np.array([1, 0.3, 0.5])) + _tone(low * rng.uniform(1.1, 1.3), np.array([1, 0.4]))
        sound = sound * (0.5 + 0.5 * np.abs(np.sin(np.pi * rng.uniform(15, 26) * _time())))
    else:  # two warbling tones
        low, rate = rng.uniform(400, 1200), rng.uniform(8, 20)
        sound = _tone(
            np.where(np.sin(2 * np.pi * rate * _time()) > 0, low, low * rng.uniform(1.15, 1.4)), np.array([1, 0.3, 0.3])
        )
    on, off = rng.uniform(0.4, 1.6), rng.uniform(0.2, 1)
    return sound * ((_time() + rng.uniform(0, on)) % (on + off) < on)


def door(rng: Rng) -> Wave:
    if rng.random() < 0.6:  # a knock, a latch, a slam
        knocks = []
        for second in np.cumsum(rng.uniform(0.12, 0.5, int(rng.integers(1, 5)))):
            thud = _band(60, rng.uniform(200, 900), rng, 5000) * _decay(5000, rng.uniform(0.02, 0.1))
            knocks.append((float(second), thud + _band(800, 4000, rng, 5000) * _decay(5000, 0.01)))
        return _placed(knocks)
    rate = _slow(rng, 3, 25, 160)  # a creak: slip and stick
    creak = _tone(rate, 1 / np.arange(1, 40) ** 0.3) * _slow(rng, 4, 0.1, 1)
    return creak + 0.1 * _band(600, 3000, rng)


def car(rng: Rng) -> Wave:
    if rng.random() < 0.25:  # a horn
        low, on = rng.uniform(300, 520), rng.uniform(0.2, 1.5)
        sound = _tone(low, 1 / np.arange(1, 12) ** 0.7) + _tone(low * 1.26, 1 / np.arange(1, 10) ** 0.7)
        return sound * (_time() % (on + 0.25) < on)
    speed = np.linspace(rng.uniform(25, 90), rng.uniform(25, 130), _COUNT) * _slow(rng, 3, 0.95, 1.05)
    engine = _tone(speed, 1 / np.arange(1, 30) ** rng.uniform(0.5, 1.1))
    return engine + rng.uniform(0.2, 2) * _band(100, rng.uniform(800, 3000), rng) * _slow(rng, 2, 0.5, 1)


def train(rng: Rng) -> Wave:
    period = rng.uniform(0.12, 0.5)
    puffs = [
        (n * period, _band(200, 3500, rng, 4000) * _decay(4000, period / 4) * (1.3 if n % 4 == 0 else 0.9))
        for n in range(20)
    ]
    sound = _placed(puffs) + 0.3 * _band(60, 700, rng)
    if rng.random() < 0.4:
        low = rng.uniform(250, 600)
        chord = sum(_tone(low * f, np.array([1, 0.5, 0.3, 0.2])) for f in (1, 1.19, 1.5))
        sound = sound + chord * (_time() > rng.uniform(0, 1)) * rng.uniform(0.3, 1.5)
    return np.asarray(sound)


def airplane(rng: Rng) -> Wave:
    drone = _tone(_slow(rng, 1, 70, 130), 1 / np.arange(1, 25)) * float(rng.choice([0, 1]))
    whine = _tone(_ramp(rng.uniform(1200, 3500, 2)), np.array([1, 0.2])) * rng.uniform(0, 0.3)
    return (coloured_noise(_COUNT, 1.0, rng) + drone + whine) * _ramp(rng.uniform(0.3, 1, 2))


def helicopter(rng: Rng) -> Wave:
    beat = np.maximum(0, np.sin(2 * np.pi * rng.uniform(5, 22) * _time())) ** rng.uniform(1, 4)
    return _band(50, np.exp(rng.uniform(np.log(300), np.log(6000))), rng) * (0.15 + beat) + 0.2 * _tone(
        rng.uniform(200, 900), np.array([1, 0.5])
    )


def siren(rng: Rng) -> Wave:
    rate, low = rng.uniform(0.2, 4), rng.uniform(350, 800)
    swing = np.sin(2 * np.pi * rate * _time() + rng.uniform(0, 6))
    swing = np.sign(swing) if rng.random() < 0.35 else swing
    return _tone(low * (1.35 + rng.uniform(0.15, 0.4) * swing), 1 / np.arange(1, 8) ** rng.uniform(0.7, 2))


def heart(rng: Rng) -> Wave:
    period, tone = rng.uniform(0.5, 1.1), rng.uniform(40, 90)
    beat: Wave = np.sin(2 * np.pi * tone * _time(2400)) * _decay(2400, 0.04)
    thuds = [(n * period + at, size * beat) for n in range(5) for at, size in ((0.02, 1.0), (0.02 + 0.3 * period, 0.7))]
    return _placed(thuds) + 0.03 * _band(40, 300, rng)


def applause(rng: Rng) -> Wave:
    claps = [
        (
            float(s),
            _band(rng.uniform(600, 1500), rng.uniform(2000, 4500), rng, 500) * _decay(500, 0.006) * rng.uniform(0.2, 1),
        )
        for s in rng.uniform(0, 2.2, int(rng.integers(20, 260)))
    ]
    return _placed(claps) + rng.uniform(0, 0.5) * _band(800, 4000, rng)


def bell(rng: Rng) -> Wave:
    base, length = rng.uniform(200, 2400), rng.uniform(0.3, 2.5)
    partials = np.array([0.5, 1, 1.2, 1.5, 2, 2.6, 3.0, 4.1]) * rng.uniform(0.98, 1.02, 8)
    strike = sum(
        np.sin(2 * np.pi * base * p * _time()) * _decay(_COUNT, length / p**0.7) * rng.uniform(0.2, 1)
        for p in partials
        if base * p < 7800
    )
    period = rng.uniform(0.3, 2.5)
    return _placed([(n * period, np.asarray(strike)) for n in range(6)])


MAKERS: dict[str, Callable[[Rng], Wave]] = {
    maker.__name__: maker
    for maker in (
        rain, wind, wave, thunderstorm, dog, horse, bird, telephone, door, car, train, airplane, helicopter, siren,
        heart, applause, bell,
    )
}  # fmt: skip
