"""A video's frames as a viewer shows them: turned by the display matrix, square pixels, colours by their range."""

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from pandagpt_core.media import notes
from pandagpt_core.media.pictures.shown import on_ground

if TYPE_CHECKING:
    from av.video.stream import VideoStream

RGB = npt.NDArray[np.uint8]
_WIDEST = 20.0  # beyond it a sample aspect ratio is a mistake of the file's writer
_HD_LINES = 720  # from here on a film that does not name its colours is BT.709
_UNSPECIFIED, _BT709 = 2, 1
_BT2020 = (9, 10)


@dataclass(frozen=True, slots=True)
class Display:
    """`aspect` is width over height of one sample."""

    aspect: float


def display_of(stream: "VideoStream") -> Display:
    ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    aspect = float(ratio) if ratio else 1.0
    if not 1 / _WIDEST <= aspect <= _WIDEST:
        aspect = 1.0
    if abs(aspect - 1) > 0.005:
        notes.fact("pixel aspect", f"{aspect:.3f}")
    return Display(aspect)


def as_displayed(frame: av.VideoFrame, display: Display) -> RGB:
    """[H, W, 3] as a viewer shows the frame."""
    return _turned(_squared(_rgb(frame), display.aspect), _matrix(frame))


def _rgb(frame: av.VideoFrame) -> RGB:
    space = frame.colorspace
    if space == _UNSPECIFIED and frame.height >= _HD_LINES:
        space = _BT709
    if space in _BT2020:
        notes.warn("a video of wide colours (BT.2020): they are shown without tone mapping")
    seen = any(part.is_alpha for part in frame.format.components)
    shown = frame.reformat(
        format="rgba" if seen else "rgb24", src_colorspace=space, src_color_range=frame.color_range, threads=1
    )
    rgb = shown.to_ndarray().astype(np.uint8, copy=False)
    return np.asarray(on_ground(Image.fromarray(rgb))) if seen else rgb


def _squared(rgb: RGB, aspect: float) -> RGB:
    """Stretched along the side that gains samples."""
    if abs(aspect - 1) <= 0.005:
        return rgb
    height, width = rgb.shape[:2]
    size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC))


def is_transformed(frame: av.VideoFrame) -> bool:
    """Whether a display matrix turns or mirrors it."""
    return _matrix(frame) not in (None, (1, 0, 0, 1))


def _matrix(frame: av.VideoFrame) -> tuple[int, int, int, int] | None:
    """The signs of a, b, c, d of the display matrix, where it turns or mirrors by quarters."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")  # by name: the items of its iterator changed with PyAV 19
    if data is None:
        return None
    a, b, _, c, d = struct.unpack_from("<5i", bytes(data))
    signs = (_sign(a), _sign(b), _sign(c), _sign(d))
    return signs if (a == d == 0 and b and c) or (b == c == 0 and a and d) else None


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)


def _turned(rgb: RGB, matrix: tuple[int, int, int, int] | None) -> RGB:
    """x' = a x + c y, y' = b x + d y: columns and rows exchanged where a is 0, then mirrored by the signs."""
    if matrix is None:
        return rgb
    a, b, c, d = matrix
    if a == 0:
        rgb = rgb.transpose(1, 0, 2)
    across, down = (c, b) if a == 0 else (a, d)
    if (a, d) != (1, 1):
        notes.fact("orientation", "turned as the display matrix says")
    return np.ascontiguousarray(rgb[:: down or 1, :: across or 1])
