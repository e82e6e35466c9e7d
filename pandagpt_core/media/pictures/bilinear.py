"""Bilinear resize and crop of [H, W] or [H, W, C] arrays, computing only the pixels that are kept."""

import numpy as np
import numpy.typing as npt

from pandagpt_core.ndarrays import Float32Array


def short_side(height: int, width: int, size: int) -> tuple[int, int]:
    """Sides after the shorter one became `size`, the longer rounded down."""
    if width <= height:
        return size * height // width, size
    return size, size * width // height


def resize_crop(
    image: npt.NDArray[np.generic], scaled: tuple[int, int], top: int, left: int, size: int
) -> Float32Array:
    """The [size, size] window at (top, left) of `image` resized to `scaled`.

    Sample points at pixel centres, no antialiasing (torch's bilinear with align_corners off, of which the published
    video loader made its frames). In float32 throughout: at a thousand pixels the rounding of a coordinate shows.
    """
    rows, row_share = _taps(image.shape[0], scaled[0], top, size)
    columns, column_share = _taps(image.shape[1], scaled[1], left, size)
    extra = (1,) * (image.ndim - 2)
    share_x = column_share.reshape(1, -1, *extra)
    share_y = row_share.reshape(-1, 1, *extra)
    # Both axes at once: taking rows first would copy whole rows, of which a needle has one of millions of columns.
    above, below = (
        image[row[:, None], columns[0]] * (1 - share_x) + image[row[:, None], columns[1]] * share_x for row in rows
    )
    window: Float32Array = above * (1 - share_y) + below * share_y
    return window


def _taps(source: int, scaled: int, start: int, count: int) -> tuple[npt.NDArray[np.intp], Float32Array]:
    """Two neighbours [2, count] and the second one's share [count] for `count` outputs from `start` on."""
    scale = np.float32(source) / np.float32(scaled)
    # One rounding after multiply and subtract, as the fused instruction does.
    centres = np.float64(scale) * (np.arange(start, start + count) + 0.5) - 0.5
    at = np.maximum(centres.astype(np.float32), np.float32(0.0))
    first = np.minimum(at.astype(np.intp), source - 1)
    second = np.minimum(first + 1, source - 1)
    return np.stack([first, second]), (at - first).astype(np.float32)
