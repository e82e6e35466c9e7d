"""Band-limited resampling by a Hann-windowed sinc (Smith, "Digital Audio Resampling"; torchaudio's parameters).

Six zero crossings a side, cut-off at 0.99 of the lower Nyquist frequency. Each output is evaluated on its own, so that
any pair of rates costs the same small memory; a table of all phases would need gigabytes for 44,101 Hz.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pandagpt_core.ndarrays import Float32Array

ZERO_CROSSINGS, ROLLOFF = 6, 0.99
_BLOCK_VALUES = 1 << 20


@dataclass(frozen=True, slots=True)
class Resampler:
    """From rate `source` to rate `target`, both in Hz."""

    source: int
    target: int

    def output_length(self, frames: int) -> int:
        return -(-self.target * frames // self.source)

    def support(self, start: int, end: int) -> tuple[int, int]:
        """Input frames that outputs start..end-1 read; may reach beyond both ends of the sound (zeros there)."""
        if self.source == self.target:
            return start, end
        reach = self._reach()
        return start * self.source // self.target - reach, (end - 1) * self.source // self.target + reach + 2

    def run(self, part: Float32Array, start: int, end: int) -> Float32Array:
        """Outputs start..end-1, [channels, end - start], of the input frames `support(start, end)` as [n, channels]."""
        if self.source == self.target:
            return np.ascontiguousarray(part.T)
        reach = self._reach()
        taps = 2 * reach + 2
        first = start * self.source // self.target  # input frame just before output `start`
        windows = np.lib.stride_tricks.sliding_window_view(part, taps, axis=0)  # [n, channels, taps]
        out = np.empty((part.shape[1], end - start), dtype=np.float32)
        step = max(1, _BLOCK_VALUES // (taps * part.shape[1]))
        for low in range(start, end, step):
            outputs = np.arange(low, min(low + step, end), dtype=np.int64)
            before, rest = np.divmod(outputs * self.source, self.target)
            kernel = self._kernel(np.arange(-reach, reach + 2) - (rest / self.target)[:, None])  # [outputs, taps]
            block = np.einsum("oct,ot->co", windows[before - first], kernel, optimize=True)
            out[:, low - start : low - start + len(outputs)] = block
        return out

    def _cutoff(self) -> float:
        """In cycles per input frame, times two."""
        return min(self.source, self.target) * ROLLOFF / self.source

    def _reach(self) -> int:
        return math.ceil(ZERO_CROSSINGS / self._cutoff())

    def _kernel(self, offset: npt.NDArray[np.float64]) -> Float32Array:
        """Weights at distances `offset`, in input frames."""
        at = np.clip(offset * self._cutoff(), -ZERO_CROSSINGS, ZERO_CROSSINGS)
        window = np.cos(at * (math.pi / ZERO_CROSSINGS / 2)) ** 2
        kernel: Float32Array = (np.sinc(at) * window * self._cutoff()).astype(np.float32)
        return kernel
