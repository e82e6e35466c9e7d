"""Videos to encoder arrays: ImageBind's clips of two frames in three crops, or single frames as clips."""

import math

import numpy as np
from PIL import Image

from pandagpt_core.media import notes
from pandagpt_core.media import params as p
from pandagpt_core.media.clips import clip_spans
from pandagpt_core.media.limits import Limits
from pandagpt_core.media.pictures.bilinear import resize_crop, short_side
from pandagpt_core.media.pictures.pixels import MEAN, SIZE, STD, lite0_array, normalise, resize_and_crop
from pandagpt_core.media.pictures.shown import remark_blank
from pandagpt_core.media.video import moments
from pandagpt_core.media.video.frames import RGB, pick
from pandagpt_core.ndarrays import Float32Array

CLIPS, CLIP_SECONDS, CROPS = 5, 2, 3
LITE0_FRAMES = 8
LANGUAGEBIND_FRAMES = 8


def imagebind(data: bytes, params: p.Params, limits: Limits) -> Float32Array:
    """As ImageBind's loader: [15, 3, 2, 224, 224], five clips of 2 s by three crops, clip-major, two frames each."""
    p.only(params)
    views = np.stack(pick(data, limits, clip_frames, three_crops))  # [10, 3 crops, 3, 224, 224]
    _warn_of_blank(views[:, 1])
    views = views.reshape(CLIPS, 2, CROPS, 3, SIZE, SIZE).transpose(0, 2, 3, 1, 4, 5)
    return views.reshape(CLIPS * CROPS, 3, 2, SIZE, SIZE)


def _warn_of_blank(crops: Float32Array) -> None:
    """Of [N, 3, 224, 224]; for most films few pixels decide, so that the others alone are looked at whole."""
    for step in (8, 1):
        levels = (crops[:, :, ::step, ::step].transpose(0, 2, 3, 1) * STD + MEAN) * 255
        with notes.collecting() as found:
            remark_blank("video", np.rint(levels).astype(np.uint8))
        blank = found.closed().empty
        if not blank:
            return
    notes.warn(blank)


def lite0(data: bytes, params: p.Params, limits: Limits) -> Float32Array:
    """Frames of the middles of eight equal spans of time, each a clip as `lite0-image-v1`: [8, 3, 224, 224]."""
    p.only(params)
    frames = moments.pick(data, limits, LITE0_FRAMES, _square)
    remark_blank("video", np.stack(frames))
    return np.stack([lite0_array(frame) for frame in frames])


def languagebind(data: bytes, params: p.Params, limits: Limits) -> Float32Array:
    """As LanguageBind's loader, but for its random crop, which is the centre here: eight frames by count, the first and
    the last among them, the shorter side resized to 224: [1, 3, 8, 224, 224]."""
    p.only(params)
    frames = np.stack(pick(data, limits, even_frames, centre_crop))  # [8, 3, 224, 224]
    return frames.transpose(1, 0, 2, 3)[None]


def even_frames(count: int, _rate: float) -> list[int]:
    """Indices at equal distances from the first frame to the last, rounded down."""
    return [index * (count - 1) // (LANGUAGEBIND_FRAMES - 1) for index in range(LANGUAGEBIND_FRAMES)]


def centre_crop(frame: RGB) -> Float32Array:
    """[3, 224, 224], normalised as pictures are."""
    height, width = short_side(frame.shape[0], frame.shape[1], SIZE)
    crop = resize_crop(frame, (height, width), (height - SIZE) // 2, (width - SIZE) // 2, SIZE)
    return normalise(crop / np.float32(255.0)).transpose(2, 0, 1)


def _square(frame: RGB) -> RGB:
    return np.asarray(resize_and_crop(Image.fromarray(frame)))


def clip_frames(count: int, rate: float) -> list[int]:
    """First and last frame of each clip; a clip holds the frames ceil(rate x start) to ceil(rate x end) - 1."""
    chosen: list[int] = []
    for start, end in clip_spans(count / rate, CLIPS, CLIP_SECONDS):
        last = min(math.ceil(rate * float(end)), count) - 1
        chosen += [min(math.ceil(rate * float(start)), last), last]
    return chosen


def three_crops(frame: RGB) -> Float32Array:
    """[3 crops, 3, 224, 224]: both ends and the centre of the longer side, normalised as pictures are."""
    height, width = short_side(frame.shape[0], frame.shape[1], SIZE)
    centre_top, centre_left = math.ceil((height - SIZE) / 2), math.ceil((width - SIZE) / 2)
    if height > width:
        corners = [(0, centre_left), (centre_top, centre_left), (height - SIZE, centre_left)]
    else:
        corners = [(centre_top, 0), (centre_top, centre_left), (centre_top, width - SIZE)]
    crops = np.stack([resize_crop(frame, (height, width), top, left, SIZE) for top, left in corners])
    return normalise(crops / np.float32(255.0)).transpose(0, 3, 1, 2)
