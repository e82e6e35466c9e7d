"""Boxes drawn on a picture: they can be told from it, lie where a viewer sees them, and hold within limits."""

import io

import numpy as np
import pytest
from PIL import Image

from pandagpt_core.boxes import MOST_BOXES, Located
from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load
from pandagpt_core.media.pictures.annotate import COLOURS, LONGEST_SIDE, draw
from pandagpt_core.media.pictures.drawing import write_objects

LIMITS = Limits()
DOG = Located("a dog", (0.25, 0.25, 0.75, 0.75))


def encoded(picture: Image.Image, orientation: int | None = None) -> bytes:
    out, exif = io.BytesIO(), Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    picture.save(out, "PNG", exif=exif)
    return out.getvalue()


def drawn(data: bytes, *objects: Located) -> Image.Image:
    png = load("annotated-picture-v1", data, {"objects": write_objects(objects)}, LIMITS).tobytes()
    return Image.open(io.BytesIO(png))


def has(picture: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    return (np.asarray(picture.convert("RGB")) == colour).all(axis=-1)


@pytest.mark.parametrize("ground", [(0, 0, 0), (255, 255, 255), *COLOURS])
def test_a_box_can_be_told_from_any_ground(ground: tuple[int, int, int]) -> None:
    picture = Image.new("RGB", (320, 240), ground)
    changed = np.asarray(draw(picture, [DOG])) != np.asarray(picture)
    assert changed[57:64].any(axis=(0, 2))[80:240].all()  # the upper edge, from corner to corner
    assert not changed[100:140, 100:220].any()  # the inside stays to be seen


def test_the_answer_is_a_png_of_the_pictures_size() -> None:
    result = drawn(encoded(Image.new("RGB", (320, 240), "grey")), DOG)
    assert (result.format, result.size) == ("PNG", (320, 240))


def test_a_turned_picture_is_drawn_on_as_a_viewer_shows_it() -> None:
    stored = Image.new("RGB", (320, 200), "grey")
    result = drawn(encoded(stored, orientation=6), Located(None, (0.0, 0.0, 1.0, 0.25)))
    assert result.size == (200, 320)
    rows = has(result, COLOURS[0]).any(axis=1)
    assert rows[:85].any()
    assert not rows[90:].any()


@pytest.mark.parametrize(
    ("orientation", "sides"), [(None, [320, 200]), (3, [320, 200]), (6, [200, 320]), (99, [320, 200])]
)
def test_the_size_is_that_which_a_viewer_shows(orientation: int | None, sides: list[int]) -> None:
    data = encoded(Image.new("RGB", (320, 200)), orientation)
    assert load("picture-size-v1", data, {}, LIMITS).tolist() == sides


def test_one_label_has_one_colour_and_another_label_another() -> None:
    picture = Image.new("RGB", (400, 400), "white")
    other = Located("a cat", (0.8, 0.8, 0.9, 0.9))
    again = Located("a dog", (0.05, 0.5, 0.2, 0.6))
    assert has(draw(picture, [DOG, other, again]), COLOURS[1]).any()
    assert not has(draw(picture, [DOG, again]), COLOURS[1]).any()


def test_a_label_at_the_rim_is_drawn_inside() -> None:
    picture = Image.new("RGB", (300, 100), "white")
    label = has(draw(picture, [Located("rim", (0.97, 0.0, 1.0, 0.1))]), COLOURS[0])
    assert label.sum() > 200


def test_labels_of_any_characters_and_lengths_are_drawn() -> None:
    odd = Located("\N{PANDA FACE}\n\N{RIGHT-TO-LEFT OVERRIDE}" + "x" * 500, (0.1, 0.1, 0.2, 0.2))
    assert drawn(encoded(Image.new("RGB", (64, 64))), odd).size == (64, 64)


@pytest.mark.parametrize("sides", [(1, 1), (1, 150), (2, 3)])
def test_the_smallest_pictures_can_be_drawn_on(sides: tuple[int, int]) -> None:
    assert drawn(encoded(Image.new("RGB", sides)), DOG).size == sides


def test_a_large_picture_is_made_smaller() -> None:
    assert drawn(encoded(Image.new("L", (LONGEST_SIDE * 2, 100))), DOG).size == (LONGEST_SIDE, 50)


@pytest.mark.parametrize(
    "objects", ["", "{}", "[[1, [0,0,1,1]]]", '[["a", [0,0,1]]]', '[["a", [0,0,1,1.5]]]', '[["a", [0,0,1,-1]]]']
)
def test_what_is_no_list_of_boxes_is_refused(objects: str) -> None:
    with pytest.raises(InvalidMedia) as caught:
        load("annotated-picture-v1", encoded(Image.new("RGB", (8, 8))), {"objects": objects}, LIMITS)
    assert caught.value.param == "objects"


def test_boxes_of_a_drawing_are_bounded() -> None:
    with pytest.raises(InvalidMedia, match=f"has {MOST_BOXES + 1} boxes; the limit is {MOST_BOXES}"):
        drawn(encoded(Image.new("RGB", (8, 8))), *[DOG] * (MOST_BOXES + 1))
