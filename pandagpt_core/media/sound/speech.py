"""Sounds as a recogniser of speech reads them: one channel at 16 kHz, int16 [n], of any length."""

import numpy as np
import numpy.typing as npt

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media import params as p
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits
from pandagpt_core.media.sound.channels import mixing
from pandagpt_core.media.sound.loudness import SILENT, survey
from pandagpt_core.media.sound.resample import Resampler
from pandagpt_core.media.sound.sounds import Sound, open_sound

RATE = 16_000
LONGEST_S = 86_400.0
_STEP = 10 * RATE  # samples that are resampled at once

Wave = npt.NDArray[np.float32]


def speech(data: bytes, params: p.Params, limits: Limits) -> npt.NDArray[np.int16]:
    """All channels mixed. `seconds`: no more than so many from the start."""
    p.only(params, ("seconds",))
    longest = p.number(params, "seconds", 0.1, LONGEST_S) or LONGEST_S
    sound = open_sound(data, limits)
    levels = survey(sound, limits)
    if not levels.frames:
        raise InvalidMedia("the sound holds no samples")
    if levels.peak <= SILENT:
        notes.empty("The sound is silent.")
    frames = min(levels.frames, round(longest * sound.rate))
    wave = _mixed(sound, mixing(levels.channels, levels.mixed), frames)
    return _resampled(wave, Resampler(sound.rate, RATE), max(1.0, levels.peak))


def _mixed(sound: Sound, share: Wave, frames: int) -> Wave:
    """[frames]"""
    wave, position = np.zeros(frames, dtype=np.float32), 0
    with decoding("sound"):
        for block in sound.blocks():
            part = (block @ share)[: frames - position]
            wave[position : position + len(part)] = part
            position += len(part)
            if position >= frames:
                break
    return wave


def _resampled(wave: Wave, resampler: Resampler, peak: float) -> npt.NDArray[np.int16]:
    """In stretches, so that a long sound costs little beside itself; one beyond full scale is made as much softer."""
    total = resampler.output_length(len(wave))
    out = np.empty(total, dtype=np.int16)
    for start in range(0, total, _STEP):
        end = min(start + _STEP, total)
        low, high = resampler.support(start, end)
        part = np.zeros((high - low, 1), dtype=np.float32)
        inner = wave[max(low, 0) : min(high, len(wave))]
        part[max(low, 0) - low : max(low, 0) - low + len(inner), 0] = inner
        out[start:end] = np.clip(np.rint(resampler.run(part, start, end)[0] * (32767 / peak)), -32768, 32767)
    return out
