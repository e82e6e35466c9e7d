"""All channels of a sound as one: the mean of two, and of more the downmix of ITU-R BS.775-4 (annex 4)."""

import math

import numpy as np
import numpy.typing as npt

from pandagpt_core.media import notes

Float = npt.NDArray[np.float32]
_SIDE, _BACK = math.sqrt(0.5), math.sqrt(0.5) / 2  # 3 dB less, of which the half goes to each side
# Weights by number of channels, in the order of WAV: left, right, centre, low frequencies (left out), back, side.
_WEIGHTS = {
    1: (1.0,),
    2: (0.5, 0.5),
    3: (0.5, 0.5, _SIDE),
    4: (0.5, 0.5, _BACK, _BACK),
    5: (0.5, 0.5, _SIDE, _BACK, _BACK),
    6: (0.5, 0.5, _SIDE, 0.0, _BACK, _BACK),
    8: (0.5, 0.5, _SIDE, 0.0, _BACK, _BACK, _BACK, _BACK),
}
_CANCELLED = 0.01  # of the loudest channel's energy: what the others took away


def weights(channels: int) -> npt.NDArray[np.float32]:
    """[channels]"""
    return np.array(_WEIGHTS.get(channels, (1 / channels,) * channels), dtype=np.float32)


def mixing(energies: npt.NDArray[np.float64], mixed: float) -> npt.NDArray[np.float32]:
    """The weights for a sound of these energies by channel and of that energy once mixed.

    Where channels cancel one another (one is the other's negative) the loudest alone is heard.
    """
    count = len(energies)
    if count == 1 or mixed >= _CANCELLED * energies.max():
        return weights(count)
    notes.warn("the channels cancel one another: the loudest alone is heard")
    alone = np.zeros(count, dtype=np.float32)
    alone[int(energies.argmax())] = 1.0
    return alone
