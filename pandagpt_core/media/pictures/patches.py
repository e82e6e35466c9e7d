"""Pictures to patches in their own ratio of sides, [1, 2520, 770], as EmbeddingGemma 2 reads them (Gemma 4's way)."""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from pandagpt_core.media import params as p
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits
from pandagpt_core.media.pictures.patch_layout import ABSENT, PATCH, PATCHES, POOL, TOKENS, VALUES
from pandagpt_core.media.pictures.shown import on_ground, open_shown, remark_blank
from pandagpt_core.ndarrays import Float32Array


def embedding_gemma2(data: bytes, params: p.Params, limits: Limits) -> Float32Array:
    """Scaled to as many whole tokens as fit into 280; patches row by row, 0..1, each with its column and row.

    The picture is turned as EXIF states and laid on a ground where it is transparent, as a viewer shows it.
    """
    p.only(params)
    picture = open_shown(data, limits)
    size = scaled(*picture.size)
    with decoding("picture"):
        seen = np.asarray(on_ground(picture.resize(size, Image.Resampling.BICUBIC)))
    remark_blank("picture", seen)
    return _patches(seen)[None]


def scaled(width: int, height: int) -> tuple[int, int]:
    """Width and height, each a multiple of a token's 48 pixels; a side that would have none gets one, and the other as
    many as the ratio of sides gives."""
    unit = PATCH * POOL
    factor = math.sqrt(PATCHES * PATCH**2 / (width * height))
    columns, rows = (math.floor(factor * side / unit) for side in (width, height))
    longest = min(max(width, height) // min(width, height), TOKENS)
    if columns == 0 or rows == 0:
        columns, rows = (1, longest) if columns == 0 else (longest, 1)
    return columns * unit, rows * unit


def _patches(rgb: npt.NDArray[np.uint8]) -> Float32Array:
    """[2520, 770] of [H, W, 3]: 16 x 16 x 3 values, then column and row."""
    rows, columns = (side // PATCH for side in rgb.shape[:2])
    grid = rgb.reshape(rows, PATCH, columns, PATCH, 3).swapaxes(1, 2).reshape(rows * columns, VALUES)
    array = np.zeros((PATCHES, VALUES + 2), dtype=np.float32)
    array[:, VALUES:] = ABSENT
    array[: len(grid), :VALUES] = grid / np.float32(255.0)
    places = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1)  # [rows, columns, 2]
    array[: len(grid), VALUES:] = places.reshape(-1, 2)
    return array
