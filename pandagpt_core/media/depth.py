"""Depth maps to normalised disparity [1, 1, 224, 224].

ImageBind was trained on disparity as Omnivore made it (Girdhar et al. 2022; published conversion for SUN RGB-D):
disparity = baseline x focal length / depth, clamped to 75 and divided by 75, then (x - 0.0418) / 0.0295. Neither
focal length nor baseline can be told from a depth map, so metric depth without them is refused, never guessed.
"""

import numpy as np
import numpy.typing as npt

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import npy
from pandagpt_core.media import params as p
from pandagpt_core.media.bilinear import resize_crop, short_side
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits
from pandagpt_core.media.pixels import SIZE, open_picture

UNITS = ("m", "mm", "disparity", "sunrgbd")
NEAREST_M, FURTHEST_M = 0.01, 50.0
SUNRGBD_FURTHEST_M = 8.0
LEAST_DISPARITY, MOST_DISPARITY = 0.01, 75.0
MEAN, STD = 0.0418, 0.0295
_WHY = "metric depth becomes disparity only with the camera's focal length in pixels and its baseline in metres"

Float = npt.NDArray[np.float64]


def sunrgbd(data: bytes, params: p.Params, limits: Limits) -> npt.NDArray[np.float32]:
    """16-bit PNG, TIFF (16-bit or float32) or .npy, one channel.

    `unit`: "m", "mm", "sunrgbd" (that data set's rotated 16 bits), each with `focal_px` and `baseline_m`; or
    "disparity", ready in the same scale. Zero or less means no reading, and counts as infinitely far: holes mostly
    lie beyond the sensor's range, while the published clip (0 m to 0.01 m) would make them the nearest thing of all.
    """
    p.only(params, ("unit", "focal_px", "baseline_m"))
    unit = p.choice(params, "unit", UNITS)
    raw = _read(data, limits)
    disparity = raw.astype(np.float64) if unit == "disparity" else _from_depth(_metres(raw, unit), params)
    seen = disparity > 0.0
    if not seen.any():
        raise InvalidMedia("the depth map has no reading above 0")
    # Holes go to the lower clamp too: it is 0.0001 after division, "infinitely far".
    scaled = np.clip(disparity, LEAST_DISPARITY, MOST_DISPARITY) / MOST_DISPARITY
    square = _square(scaled.astype(np.float32))
    return ((square - np.float32(MEAN)) / np.float32(STD))[None, None]


def _read(data: bytes, limits: Limits) -> npt.NDArray[np.generic]:
    if npy.is_npy(data):
        array = npy.read(data, limits)
        if array.ndim != 2:
            raise InvalidMedia(f"a depth .npy array has two dimensions; this one has {array.ndim}")
        return array
    picture = open_picture(data, limits)
    if picture.format not in ("PNG", "TIFF") or not (picture.mode in ("I", "F") or picture.mode.startswith("I;16")):
        raise InvalidMedia("a depth map is a 16-bit PNG, a 16-bit or float TIFF or a .npy array, of one channel")
    with decoding("picture"):
        array = np.asarray(picture)
    if not np.isfinite(array).all():
        raise InvalidMedia("the depth map holds NaN or infinity")
    return array


def _metres(raw: npt.NDArray[np.generic], unit: str) -> Float:
    if unit == "m":
        return raw.astype(np.float64)
    if unit == "mm":
        return raw.astype(np.float64) / 1000.0
    if raw.dtype.kind == "f" or raw.min() < 0 or raw.max() > 65535:
        raise InvalidMedia('unit "sunrgbd" needs 16-bit integers', param="unit")
    words = raw.astype(np.uint16)
    millimetres = (words >> 3) | (words << 13)  # the data set stores millimetres rotated left by three bits
    return np.minimum(millimetres.astype(np.float64) / 1000.0, SUNRGBD_FURTHEST_M)


def _from_depth(metres: Float, params: p.Params) -> Float:
    """Disparity of metric depth; 0 where there is no reading."""
    focal = p.required(params, "focal_px", 1.0, 1e6, _WHY)
    baseline = p.required(params, "baseline_m", 1e-4, 100.0, _WHY)
    return np.where(metres > 0.0, baseline * focal / np.clip(metres, NEAREST_M, FURTHEST_M), 0.0)


def _square(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    scaled = short_side(values.shape[0], values.shape[1], SIZE)
    top, left = (round((side - SIZE) / 2.0) for side in scaled)
    return resize_crop(values, scaled, top, left, SIZE)
