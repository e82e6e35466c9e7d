"""Depth maps in metres to the three equal channels [1, 3, 224, 224] that LanguageBind's depth tower reads."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import params as p
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits
from pandagpt_core.media.maps import own
from pandagpt_core.media.maps.depth import NEAREST_M, depth_unit_of, depths, no_reading
from pandagpt_core.media.maps.maps import check_ends, read_map
from pandagpt_core.media.pictures.pixels import grey_channels, resize_and_crop
from pandagpt_core.modalities.builtin.maps import DEPTH, DEPTH_UNIT
from pandagpt_core.ndarrays import Float64Array

FURTHEST_M = 10.0  # `max_depth` of the published config


def languagebind(data: bytes, params: p.Params, limits: Limits) -> npt.NDArray[np.float32]:
    """Metres within 0.01 to 10, divided by 10, resized, CLIP's statistics (Zhu et al. 2024).

    The units are those of `depth.sunrgbd`; focal length and baseline count for a disparity alone. Here too no reading
    is infinitely far, where the published clip makes it the nearest thing of all. The resize is antialiased, as its
    library's is from version 0.17 on; the version that the authors name did not do that.
    """
    p.of_entry(params, DEPTH)
    found = read_map(data, limits, "depth map")
    params = own.completed(params, found.own, DEPTH, DEPTH_UNIT)
    unit, scale = depth_unit_of(params)
    if unit == "relative":
        raise InvalidMedia("this model reads depth in metres, which a relative depth does not have", param="unit")
    if found.highest <= 0:
        raise no_reading()
    metres = depths(found, np.where(found.values > 0, found.values, np.nan), params, unit, scale)
    check_ends(metres, NEAREST_M, FURTHEST_M, _flat)
    return grey_channels(_square(metres))


def _square(metres: Float64Array) -> npt.NDArray[np.float32]:
    """[224, 224] in 0..1, but for the resize's overshoot; NaN is furthest."""
    share = np.clip(np.fmin(metres, FURTHEST_M), NEAREST_M, None) / FURTHEST_M
    with decoding("picture"):
        return np.asarray(resize_and_crop(Image.fromarray(share.astype(np.float32))))


def _flat(words: str) -> InvalidMedia:
    return InvalidMedia(f"the map is flat: of its metres {words}; look at unit", param="unit")
