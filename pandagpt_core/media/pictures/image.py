"""Pictures to encoder arrays [1, 3, 224, 224], and [1, 3, 448, 448] where boxes are asked for."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from pandagpt_core.media import notes
from pandagpt_core.media import params as p
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits
from pandagpt_core.media.pictures.pixels import (
    is_oriented,
    lite0_array,
    normalise,
    open_picture,
    resize_and_crop,
    upright,
)
from pandagpt_core.media.pictures.shown import first_seen, on_ground, open_shown, remark_blank, square

EVA_SIZE = 448  # pixels of a side
DETAIL_SIZE = 320


def imagebind(data: bytes, params: p.Params, limits: Limits) -> npt.NDArray[np.float32]:
    """As ImageBind's loader: RGB by Pillow, short side 224, centre crop, CLIP's statistics.

    The reading is that of the published checkpoints: EXIF orientation is ignored, alpha is dropped and not composited,
    16-bit grey is clipped at 255.
    """
    p.only(params)
    picture = open_picture(data, limits)
    _warn_of_alpha(picture)
    if is_oriented(picture):
        notes.warn("The picture is read as it is stored, as the published checkpoint did, and not turned as EXIF says.")
    with decoding("picture"):
        cropped = np.asarray(resize_and_crop(picture.convert("RGB")))
    remark_blank("picture", cropped, notes.warn)
    return normalise(cropped.astype(np.float32) / np.float32(255.0)).transpose(2, 0, 1)[None]


def lite0(data: bytes, params: p.Params, limits: Limits) -> npt.NDArray[np.float32]:
    """For EfficientNet-Lite0: the same geometry, (x - 127) / 128.

    No older checkpoint binds this recipe, so it shows what a viewer shows (`shown`).
    """
    p.only(params)
    picture = open_shown(data, limits)
    with decoding("picture"):
        return lite0_array(square(picture))[None]


def lite0_detail(data: bytes, params: p.Params, limits: Limits) -> npt.NDArray[np.float32]:
    """[1, 3, 320, 544]: the whole picture, both sides resized to 320, and right of it, at the top, the crop of `lite0`.

    The trunk reads the crop; the detector, colours and places are of the whole.
    """
    p.only(params)
    picture = open_shown(data, limits)
    with decoding("picture"):
        crop = lite0_array(square(picture))
        whole = lite0_array(np.asarray(on_ground(picture.resize((DETAIL_SIZE, DETAIL_SIZE), Image.Resampling.BICUBIC))))
    both = np.zeros((3, DETAIL_SIZE, DETAIL_SIZE + crop.shape[-1]), np.float32)
    both[:, :, :DETAIL_SIZE] = whole
    both[:, : crop.shape[-2], DETAIL_SIZE:] = crop
    return both[None]


def eva(data: bytes, params: p.Params, limits: Limits) -> npt.NDArray[np.float32]:
    """[1, 3, 448, 448] for MiniGPT-v2's EVA ViT: turned by EXIF's orientation, then as its loader (`eva_array`).

    The loader ignores EXIF. Boxes of an answer are places in the picture that the encoder saw, so it sees the frame and
    the turn that a viewer shows; alpha is dropped as the published checkpoint did.
    """
    p.only(params)
    picture = open_picture(data, limits)
    _warn_of_alpha(picture)
    with decoding("picture"):
        square = _eva_square(upright(first_seen(picture, limits)).convert("RGB"))
    remark_blank("picture", np.asarray(square))
    return eva_array(square)[None]


def eva_array(picture: Image.Image) -> npt.NDArray[np.float32]:
    """[3, 448, 448] by MiniGPT-v2's loader: RGB by Pillow, alpha dropped, both sides resized, CLIP's statistics.

    The picture's ratio of sides is not kept, so that 0 to 1 of the square is 0 to 1 of the picture.
    """
    return normalise(np.asarray(_eva_square(picture.convert("RGB")), dtype=np.float32) / np.float32(255.0)).transpose(
        2, 0, 1
    )


def _warn_of_alpha(picture: Image.Image) -> None:
    if picture.has_transparency_data:
        notes.warn(
            "The picture's transparency is dropped, as the published checkpoint did: its colours below are read."
        )


def _eva_square(picture: Image.Image) -> Image.Image:
    side = (EVA_SIZE, EVA_SIZE)
    return picture if picture.size == side else picture.resize(side, Image.Resampling.BICUBIC)
