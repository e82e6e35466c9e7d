"""Sounds as a recogniser of speech reads them: one channel at 16 kHz, int16 [n], of any length."""

from collections.abc import Iterable, Iterator

import av
import numpy as np
import numpy.typing as npt

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media import params as p
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits
from pandagpt_core.media.sound.channels import mixing
from pandagpt_core.media.sound.loudness import SILENT, survey
from pandagpt_core.media.sound.sounds import Sound, open_sound
from pandagpt_core.modalities import Number
from pandagpt_core.ndarrays import Float32Array

RATE = 16_000
LONGEST_S = 86_400.0
_SECONDS = Number("seconds", "no more than so many from the start", 0.1, LONGEST_S, "s")


def speech(data: bytes, params: p.Params, limits: Limits) -> npt.NDArray[np.int16]:
    """All channels mixed. `seconds`: no more than so many from the start."""
    p.only(params, (_SECONDS.name,))
    longest = p.number(params, _SECONDS) or LONGEST_S
    sound = open_sound(data, limits)
    levels = survey(sound, limits)
    if not levels.frames:
        raise InvalidMedia("the sound holds no samples")
    if levels.peak <= SILENT:
        notes.empty("The sound is silent.")
    frames = min(levels.frames, round(longest * sound.rate))
    share = mixing(levels.channels, levels.mixed) / max(1.0, levels.peak)  # none goes beyond full scale
    with decoding("sound"):
        return np.concatenate(list(_resampled(_mixed(sound, share, frames), sound.rate)))


def _mixed(sound: Sound, share: Float32Array, frames: int) -> Iterator[Float32Array]:
    """Blocks of one channel, so many frames together."""
    left = frames
    for block in sound.blocks():
        yield np.ascontiguousarray((block @ share)[:left], dtype=np.float32)
        left -= min(left, len(block))
        if not left:
            return


def _resampled(blocks: Iterable[Float32Array], rate: int) -> Iterator[npt.NDArray[np.int16]]:
    """By FFmpeg, in a tenth of the time of `resample`, whose exactness a recogniser does not need."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    for block in blocks:
        frame = av.AudioFrame.from_ndarray(block[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        yield from (made.to_ndarray()[0] for made in resampler.resample(frame))
    yield from (made.to_ndarray()[0] for made in resampler.resample(None))
