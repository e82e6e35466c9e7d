"""A picture of an encoder's array, for a person to see what a model is given: PNG bytes, none for token ids.

Pictures and maps as they are, the clips beside one another; log-mel pictures and motion as grey, time to the right; a
cloud from its front.
"""

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from pandagpt_core.ndarrays import AnyArray

MOST_CLIPS = 10
_LINE = 40  # pixels of height of one channel's curve
_CLOUD = 256  # pixels of a side


def png(array: AnyArray) -> bytes:
    """Empty for an array that is no picture, sound, motion or cloud."""
    tiles = _tiles(array)
    if not tiles:
        return b""
    out = io.BytesIO()
    Image.fromarray(np.concatenate(tiles, axis=1)).save(out, "PNG")
    return out.getvalue()


def _tiles(array: AnyArray) -> Sequence[npt.NDArray[np.uint8]]:
    if array.dtype.kind != "f":
        return []
    clips = array[:MOST_CLIPS].astype(np.float32)
    match clips.shape[1:]:
        case (3, _, _):
            return _stretched(clips.transpose(0, 2, 3, 1))
        case (3, _, _, _):
            return _stretched(clips[:, :, 0].transpose(0, 2, 3, 1))
        case (1, 128, _):  # a log-mel picture: high notes on top
            return _stretched(clips[:, 0, ::-1])
        case (1, _, _):
            return _stretched(clips[:, 0])
        case (points, 3) if points > 3:
            return [_seen_from_front(clip) for clip in clips]
        case (channels, steps) if channels <= 16 < steps:
            return [_curves(clip) for clip in clips]
    return []


def _stretched(clips: npt.NDArray[np.float32]) -> Sequence[npt.NDArray[np.uint8]]:
    """From the smallest to the largest value of all of them to 0..255."""
    low, high = float(clips.min()), float(clips.max())
    scaled = (clips - low) * (255.0 / (high - low or 1.0))
    return list(np.rint(scaled).astype(np.uint8))


def _seen_from_front(cloud: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """[256, 256]: points of the unit sphere along z, black on white."""
    picture = np.full((_CLOUD, _CLOUD), 255, np.uint8)
    places = np.clip(np.rint((cloud[:, :2] + 1) / 2 * (_CLOUD - 1)), 0, _CLOUD - 1).astype(int)
    picture[_CLOUD - 1 - places[:, 1], places[:, 0]] = 0
    return picture


def _curves(clip: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """[channels * 40, steps / 2], black on white, a channel under another."""
    rows = []
    for channel in clip[:, ::2]:
        low, high = float(channel.min()), float(channel.max())
        heights = np.rint((1 - (channel - low) / (high - low or 1.0)) * (_LINE - 1)).astype(int)
        row = np.full((_LINE, len(channel)), 255, np.uint8)
        row[heights, np.arange(len(channel))] = 0
        rows.append(row)
    return np.concatenate(rows)
