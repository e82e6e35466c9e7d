"""Depth maps to normalised disparity [1, 1, 224, 224].

ImageBind was trained on disparity as Omnivore made it (Girdhar et al. 2022; published conversion for SUN RGB-D):
disparity = baseline x focal length / depth, clamped to 75 and divided by 75, then (x - 0.0418) / 0.0295. Neither
focal length nor baseline can be derived from a depth map, so metric depth without them is refused, never guessed.
"""

import numpy as np
import numpy.typing as npt

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media import params as p
from pandagpt_core.media.limits import Limits
from pandagpt_core.media.maps import own
from pandagpt_core.media.maps.maps import CLIPPED, Map, check_ends, ends, read_map, remark_ends
from pandagpt_core.media.pictures.bilinear import resize_crop, short_side
from pandagpt_core.media.pictures.pixels import SIZE
from pandagpt_core.modalities.builtin.maps import BASELINE, DEPTH, DEPTH_UNIT, FOCAL, SCALE
from pandagpt_core.ndarrays import Float64Array

_NUMBERS_A_METRE = {"m": 1.0, "mm": 1000.0}
NEAREST_M, FURTHEST_M = 0.01, 50.0
SUNRGBD_FURTHEST_M = 8.0
LEAST_DISPARITY, MOST_DISPARITY = 0.01, 75.0
MEAN, STD = 0.0418, 0.0295
_WHY = "metric depth becomes disparity only with the camera's focal length in pixels and its baseline in metres"


def sunrgbd(data: bytes, params: p.Params, limits: Limits) -> npt.NDArray[np.float32]:
    """A map of one channel (`maps`). A parameter in the file itself counts where the caller gives none.

    `unit`: "m", "mm", "sunrgbd" (that data set's rotated 16 bits), or `scale`, values a metre (TUM 5000, KITTI 256),
    each with `focal_px` and `baseline_m`; "disparity", ready in the same scale; "relative", inverse depth without a
    scale (MiDaS, Depth Anything), which gets the mean and deviation that the tower was trained on. Zero, less, NaN and
    infinity mean no reading, and count as infinitely far: holes mostly lie beyond the sensor's range, while the
    published clip (0 m to 0.01 m) would make them the nearest thing of all.
    """
    p.of_entry(params, DEPTH)
    found = read_map(data, limits, "depth map")
    params = own.completed(params, found.own, DEPTH, DEPTH_UNIT)
    unit, scale = depth_unit_of(params)
    if found.highest <= 0:
        raise no_reading()
    square = _square(_disparity(found, unit, scale, params).astype(np.float32))
    return ((square - np.float32(MEAN)) / np.float32(STD))[None, None]


def depths(found: Map, seen: Float64Array, params: p.Params, unit: str, scale: float | None) -> Float64Array:
    """[H, W] metres, NaN where there is no reading; `seen` are the positive readings, which may be changed in place.

    A disparity becomes depth by the camera's focal length and baseline.
    """
    if unit == "disparity":
        power = _focal_times_baseline(params)
        return np.divide(power, seen, out=seen)
    return _metres(found, seen, unit, scale)


def no_reading() -> InvalidMedia:
    return InvalidMedia("the depth map has no reading above 0")


def depth_unit_of(params: p.Params) -> tuple[str, float | None]:
    """The unit, "scale" where the scale stands in its place, and the scale."""
    scale = p.number(params, SCALE)
    unit = "scale" if scale is not None and "unit" not in params else p.choice(params, DEPTH_UNIT)
    notes.fact("unit", unit if scale is None else f"{scale:g} a metre")
    return unit, scale


def _disparity(found: Map, unit: str, scale: float | None, params: p.Params) -> Float64Array:
    """[H, W] disparity over 75, within its clamps."""
    if unit == "relative":
        return _relative(found)
    seen = np.where(found.values > 0, found.values, np.nan)
    if unit == "disparity":
        if found.dtype == np.uint8:
            notes.warn("a disparity of 8 bits is mostly a relative one; its unit is then relative")
        disparity = seen
    else:
        power = _focal_times_baseline(params)
        metres = _metres(found, seen, unit, scale)
        disparity = np.divide(power, np.clip(metres, NEAREST_M, FURTHEST_M, out=metres), out=metres)
    _check_flat(disparity)
    np.fmax(disparity, LEAST_DISPARITY, out=disparity)  # no reading: infinitely far
    np.minimum(disparity, MOST_DISPARITY, out=disparity)
    return np.divide(disparity, MOST_DISPARITY, out=disparity)


def _check_flat(disparity: Float64Array) -> None:
    def complain(words: str) -> InvalidMedia:
        why = f"the map is flat: of its disparities {words}; look at unit, focal_px, baseline_m"
        return InvalidMedia(why, param="unit")

    check_ends(disparity, LEAST_DISPARITY, MOST_DISPARITY, complain)


def _relative(found: Map) -> Float64Array:
    """Larger is nearer; the mean and deviation become those of the training data (Omnivore's, for SUN RGB-D)."""
    values = np.nan_to_num(found.values, nan=found.lowest)
    spread = values.std()
    if spread == 0:
        raise InvalidMedia("the depth map is flat: all its values are equal")
    disparity = MEAN + STD * (values - values.mean()) / spread
    remark_ends(disparity, LEAST_DISPARITY / MOST_DISPARITY, 1.0, "the range of disparity")
    return np.asarray(np.clip(disparity, LEAST_DISPARITY / MOST_DISPARITY, 1.0))


def _metres(found: Map, seen: Float64Array, unit: str, scale: float | None) -> Float64Array:
    """May be `seen` itself, changed in place: a new array of megabytes costs as much as the arithmetic."""
    numbers = _NUMBERS_A_METRE.get(unit, scale)
    if numbers is not None:
        metres = seen if numbers == 1 else np.divide(seen, numbers, out=seen)
        _check_far(metres, unit if scale is None else f"{scale:g} a metre")
        return metres
    if found.dtype.kind == "f" or found.lowest < 0 or found.highest > 65535:
        raise InvalidMedia('unit "sunrgbd" needs 16-bit integers', param="unit")
    words = np.nan_to_num(seen).astype(np.uint16)
    millimetres = (words >> 3) | (words << 13)  # the data set stores millimetres rotated left by three bits
    metres = np.minimum(millimetres.astype(np.float64) / 1000.0, SUNRGBD_FURTHEST_M)
    return np.where(millimetres > 0, metres, np.nan)


def _check_far(metres: Float64Array, unit: str) -> None:
    """A map that lies beyond what a depth camera sees has another unit."""
    nearest, furthest = ends(metres)
    if nearest >= FURTHEST_M or furthest <= NEAREST_M:
        side, end = ("above", FURTHEST_M) if nearest >= FURTHEST_M else ("below", NEAREST_M)
        yours = f"{nearest:,g} to {furthest:,g} m" if nearest < furthest else f"all {nearest:,g} m"
        raise InvalidMedia(
            f"every depth lies {side} {end:g} m (yours are {yours} with unit {unit}); the unit is another", param="unit"
        )
    if furthest >= FURTHEST_M:
        _remark_far(metres)


def _remark_far(metres: Float64Array) -> None:
    beyond = float(np.count_nonzero(metres >= FURTHEST_M) / (metres.size - np.count_nonzero(np.isnan(metres))))
    notes.fact(f"share above {FURTHEST_M:g} m", f"{beyond:.1%}")
    if beyond > CLIPPED:
        notes.warn(f"{beyond:.0%} of the depths lie above {FURTHEST_M:g} m and count as that")


def _focal_times_baseline(params: p.Params) -> float:
    """The number that is divided by metric depth to give disparity."""
    focal = p.required(params, FOCAL, _WHY)
    baseline = p.required(params, BASELINE, _WHY)
    return baseline * focal


def _square(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    scaled = short_side(values.shape[0], values.shape[1], SIZE)
    top, left = (round((side - SIZE) / 2.0) for side in scaled)
    return resize_crop(values, scaled, top, left, SIZE)
