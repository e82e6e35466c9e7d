"""All channels of a sound as one: the mean of two, and of more the downmix of ITU-R BS.775-4 (annex 4)."""

import math

import numpy as np
import numpy.typing as npt

from pandagpt_core.media import notes

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
_BESIDE_LOW = 1e-6  # of the low-frequency channel's energy, -60 dB: the others hold nothing
_CANCELLED = 0.01  # of the loudest channel's energy: the part that the others cancelled


def weights(channels: int) -> npt.NDArray[np.float32]:
    """[channels]"""
    return np.array(_WEIGHTS.get(channels, (1 / channels,) * channels), dtype=np.float32)


def mixing(energies: npt.NDArray[np.float64], mixed: float) -> npt.NDArray[np.float32]:
    """The weights for a sound of these energies by channel and of that energy once mixed.

    Where channels cancel one another (one is the other's negative) the loudest alone is taken, and the low-frequency
    channel where all others are silent.
    """
    share = weights(len(energies))
    loudest = int(np.where(share > 0, energies, -1.0).argmax())
    if energies[loudest] <= _BESIDE_LOW * energies.max() and energies.any():
        loudest = int(energies.argmax())
        notes.warn("the low-frequency channel alone holds sound: it is heard")
    elif len(energies) == 1 or mixed >= _CANCELLED * energies[loudest]:
        return share
    else:
        notes.warn("the channels cancel one another: the loudest alone is heard")
    alone = np.zeros(len(energies), dtype=np.float32)
    alone[loudest] = 1.0
    return alone
