"""Colours, grounds and shapes, of pictures whose truth is exact, and places in words."""

import numpy as np
import pytest

from pandagpt_core.perception.appearance import COLOUR_NAMES, apart, colour_ids, inside, look, place

SIDE = 160


def flat(*rgb: int) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), rgb, np.float32)


def squares(*corners: tuple[int, int], colour: tuple[int, int, int] = (220, 20, 20)) -> np.ndarray:
    picture = flat(255, 255, 255)
    for x, y in corners:
        picture[y : y + 32, x : x + 32] = colour
    return picture


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((220, 20, 20), "red"),
        ((240, 140, 20), "orange"),
        ((250, 230, 40), "yellow"),
        ((40, 160, 60), "green"),
        ((40, 80, 220), "blue"),
        ((120, 40, 200), "purple"),
        ((250, 150, 190), "pink"),
        ((120, 70, 30), "brown"),
        ((10, 10, 12), "black"),
        ((250, 250, 250), "white"),
        ((128, 128, 130), "gray"),
    ],
)
def test_a_plain_colour_has_its_name(rgb: tuple[int, int, int], name: str) -> None:
    assert {COLOUR_NAMES[index] for index in np.unique(colour_ids(flat(*rgb)))} == {name}


def test_shapes_on_a_plain_ground_are_counted_with_place_and_colour() -> None:
    looked = look(squares((10, 60), (110, 60), (60, 110)))
    assert len(looked.shapes) == 3
    assert {round(shape.middle[0], 1) for shape in looked.shapes} == {0.2, 0.5, 0.8}
    assert all(np.argmax(shape.colours) == COLOUR_NAMES.index("red") for shape in looked.shapes)


def test_parts_that_nearly_touch_are_one_shape() -> None:
    assert len(look(squares((40, 60), (75, 60))).shapes) == 1


def test_a_crowd_and_a_picture_without_a_plain_rim_have_no_shapes() -> None:
    crowd = squares(*((x, y) for x in range(4, 150, 40) for y in range(4, 150, 40)))
    assert look(crowd).shapes == ()
    assert look(np.random.default_rng(0).uniform(0, 255, (SIDE, SIDE, 3)).astype(np.float32)).shapes == ()


def test_noise_has_unlike_neighbours_and_a_gradient_no_slope() -> None:
    noise = np.random.default_rng(0).uniform(0, 255, (SIDE, SIDE, 3)).astype(np.float32)
    ramp = np.broadcast_to(np.linspace(40, 160, SIDE)[None, :, None], (SIDE, SIDE, 3)).astype(np.float32)
    assert look(noise).measures.neighbours < 0.3
    assert look(ramp).measures.slope < 9
    assert look(squares((60, 60))).measures.slope > 50


def test_the_colour_of_a_thing_is_not_its_grounds() -> None:
    on_grass = flat(60, 140, 50)
    on_grass[60:100, 60:100] = (250, 250, 250)
    main = look(on_grass).measures.main
    assert COLOUR_NAMES[int(np.argmax(main))] == "white"
    box = inside(look(on_grass), (0.3, 0.3, 0.7, 0.7))
    assert COLOUR_NAMES[int(np.argmax(box))] == "white"


def test_what_is_all_of_the_grounds_colour_keeps_it() -> None:
    green = tuple(float(name == "green") for name in COLOUR_NAMES)
    assert apart(green, green) == green


@pytest.mark.parametrize(
    ("x", "y", "words"), [(0.1, 0.5, "left"), (0.5, 0.5, "middle"), (0.9, 0.1, "top right"), (0.5, 0.9, "bottom")]
)
def test_a_middle_has_a_place(x: float, y: float, words: str) -> None:
    assert place(x, y) == words
