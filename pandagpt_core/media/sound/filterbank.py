"""Log-mel filter bank as Kaldi defines it (Povey et al. 2011), with the settings ImageBind's audio tower was fed.

kaldi-native-fbank cannot make it: with 128 bins over a 512-point FFT the lowest filters hold no FFT bin, which it
refuses and torchaudio, behind the published checkpoints, lets through as silence.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pandagpt_core.ndarrays import Float32Array

RATE = 16_000
MEL_BINS = 128
WINDOW, HOP, FFT = 400, 160, 512  # 25 ms, 10 ms, the next power of two
LOWEST_HZ = 20.0
PREEMPHASIS = 0.97
_FLOOR = float(np.finfo(np.float32).eps)


def filter_bank(wave: Float32Array, bins: int = MEL_BINS) -> Float32Array:
    """[frames, bins] natural logs of mel energies of a 16 kHz wave [samples >= 400]; whole windows only, no dither."""
    frames = np.lib.stride_tricks.sliding_window_view(wave.astype(np.float64), WINDOW)[::HOP]
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    shaped = (frames - PREEMPHASIS * before) * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(shaped, FFT)) ** 2
    return np.log(np.maximum(power @ _mel_weights(bins).T, _FLOOR)).astype(np.float32)


@lru_cache(maxsize=2)
def _mel_weights(count: int) -> npt.NDArray[np.float64]:
    """[count, 257] triangles, evenly spaced and straight-sided on the mel scale; the Nyquist bin has no weight."""
    edges = np.linspace(_mel(LOWEST_HZ), _mel(RATE / 2), count + 2)[:, None]
    bins = _mel(np.arange(FFT // 2 + 1) * (RATE / FFT))[None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0.0, np.minimum(rising, falling))
    weights[:, -1] = 0.0
    weights.setflags(write=False)
    return weights


def _mel(hertz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return 1127.0 * np.log(1.0 + np.asarray(hertz, dtype=np.float64) / 700.0)
