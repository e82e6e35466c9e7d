"""A picture with boxes and labels drawn on it, as PNG; and its sides as a viewer shows it. For answers with places."""

import io
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from pandagpt_core.boxes import Located, to_pixels
from pandagpt_core.media import params as p
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits
from pandagpt_core.media.pictures.drawing import read_objects
from pandagpt_core.media.pictures.pixels import full_size, is_turned, open_header
from pandagpt_core.media.pictures.shown import on_ground, open_shown
from pandagpt_core.types import Box

LONGEST_SIDE = 2400  # pixels of the drawn picture: a larger one is made smaller
LONGEST_LABEL = 60  # characters
# Okabe and Ito's colours (2008), which people with any colour vision distinguish, without black.
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
EDGE = (0, 0, 0)  # on both sides of every line and around every label: readable on any picture
WHITE = (255, 255, 255)


def size(data: bytes, params: p.Params, limits: Limits) -> npt.NDArray[np.int64]:
    """[2]: width and height as a viewer shows the picture, from its header alone."""
    p.only(params)
    picture = open_header(data, limits)
    width, height = full_size(picture)
    return np.array([height, width] if is_turned(picture) else [width, height], dtype=np.int64)


def annotated(data: bytes, params: p.Params, limits: Limits) -> npt.NDArray[np.uint8]:
    """The bytes of a PNG. `objects` of the parameters is JSON: [[label or null, [left, top, right, bottom]], ...]."""
    p.only(params, ("objects",))
    objects = read_objects(params.get("objects"))
    picture = open_shown(data, limits)
    with decoding("picture"):
        drawn = draw(_reduced(on_ground(picture)), objects)
        out = io.BytesIO()
        drawn.save(out, "PNG", compress_level=3)
    return np.frombuffer(out.getvalue(), dtype=np.uint8)


def draw(picture: Image.Image, objects: Sequence[Located]) -> Image.Image:
    """A copy of an RGB picture with each box in the next colour; one label has one colour."""
    drawn = picture.copy()
    pen = ImageDraw.Draw(drawn)
    width = max(2, round(min(picture.size) / 200))
    font = ImageFont.load_default(max(10, round(min(picture.size) / 32)))
    labels = list(dict.fromkeys(one.label for one in objects))
    for one in objects:
        colour = COLOURS[labels.index(one.label) % len(COLOURS)]
        _outline(pen, to_pixels(one.box, picture.width - 1, picture.height - 1), colour, width)
    for one in objects:  # above all boxes
        if one.label:
            colour = COLOURS[labels.index(one.label) % len(COLOURS)]
            _tag(pen, one, colour, font, picture.size)
    return drawn


def _outline(pen: ImageDraw.ImageDraw, box: Box, colour: tuple[int, int, int], width: int) -> None:
    """A coloured line between two dark ones, inside of the box where there is room."""
    left, top, right, bottom = (round(side) for side in box)
    pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=EDGE, width=width + 2)
    pen.rectangle((left, top, right, bottom), outline=colour, width=width)


def _tag(
    pen: ImageDraw.ImageDraw,
    one: Located,
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    sides: tuple[int, int],
) -> None:
    """The label on its colour at the box's upper left corner, moved into the picture."""
    text = _shortened(one.label or "")
    left, top, _, _ = to_pixels(one.box, *sides)
    x0, y0, x1, y1 = pen.textbbox((0, 0), text, font=font)
    width, height = math.ceil(x1 - x0) + 6, math.ceil(y1 - y0) + 6
    at_x, at_y = _within(left, sides[0] - width), _within(top - height, sides[1] - height)
    pen.rectangle((at_x, at_y, at_x + width, at_y + height), fill=colour, outline=EDGE)
    pen.text((at_x + 3 - x0, at_y + 3 - y0), text, fill=_readable_on(colour), font=font)


def _shortened(label: str) -> str:
    line = "".join(c if c.isprintable() else " " for c in label)
    return line if len(line) <= LONGEST_LABEL else line[: LONGEST_LABEL - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _within(place: float, most: int) -> int:
    return max(0, min(round(place), most))


def _readable_on(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white, by the colour's luminance (Rec. 709)."""
    red, green, blue = colour
    return EDGE if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 110 else WHITE


def _reduced(picture: Image.Image) -> Image.Image:
    longest = max(picture.size)
    if longest <= LONGEST_SIDE:
        return picture
    sides = tuple(max(1, round(side * LONGEST_SIDE / longest)) for side in picture.size)
    return picture.resize((sides[0], sides[1]), Image.Resampling.LANCZOS)
