"""Thermal pictures: 8 bits as published, deeper ones only with the span they cover."""

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load, read

RECIPE, LIMITS = "imagebind-thermal-v1", Limits()


def test_eight_bits_are_divided_by_255_and_not_normalised(make):
    array = load(RECIPE, make.npy(np.full((30, 40), 51, np.uint8)), {}, LIMITS)
    assert array.shape == (1, 1, 224, 224)
    assert array.dtype == np.float32
    assert array == pytest.approx(0.2)


def test_a_float_array_within_one_is_taken_as_it_is(make):
    assert load(RECIPE, make.npy(np.full((30, 40), 0.4)), {}, LIMITS) == pytest.approx(0.4)


def test_low_and_high_map_raw_values(make):
    raw = np.full((30, 40), 29_500)
    span = {"low": 29_000, "high": 30_000}
    assert load(RECIPE, make.npy(raw.astype(np.uint16)), span, LIMITS) == pytest.approx(0.5, abs=0.003)
    assert load(RECIPE, make.grey16(raw), span, LIMITS) == pytest.approx(0.5, abs=0.003)


def test_a_deep_picture_without_a_span_is_clipped_as_published(make):
    assert load(RECIPE, make.grey16(np.full((30, 40), 300)), {}, LIMITS) == pytest.approx(1.0)


@pytest.mark.parametrize("array", [np.full((4, 4), 900, np.uint16), np.full((4, 4), 1.5), np.full((4, 4), -0.1)])
def test_an_array_of_unknown_span_is_refused(make, array):
    with pytest.raises(InvalidMedia, match="low and high"):
        load(RECIPE, make.npy(array), {}, LIMITS)


@pytest.mark.parametrize("span", [{"low": 1.0}, {"high": 1.0}, {"low": 2, "high": 2}, {"low": 3, "high": 2}])
def test_a_span_needs_both_ends_in_order(make, span):
    with pytest.raises(InvalidMedia, match="low below high"):
        load(RECIPE, make.npy(np.ones((4, 4))), span, LIMITS)


def test_a_colour_picture_takes_no_span(make):
    with pytest.raises(InvalidMedia, match="single grey channel"):
        load(RECIPE, make.picture(), {"low": 0, "high": 9}, LIMITS)


@pytest.mark.parametrize("shape", [(9,), (3, 4, 5)])
def test_an_array_that_is_no_picture_is_refused(make, shape):
    with pytest.raises(InvalidMedia, match=f"this one has {len(shape)}"):
        load(RECIPE, make.npy(np.zeros(shape)), {}, LIMITS)


def test_a_needle_array_is_refused(make):
    with pytest.raises(InvalidMedia, match="ratio of sides"):
        load(RECIPE, make.npy(np.zeros((1, 5000))), {}, LIMITS)


CENTIKELVIN = np.linspace(29_000, 31_000, 64 * 48).reshape(48, 64).astype(np.uint16)
SHOWN = "shown-thermal-v1"


def tiff(make, tags: dict[int, object]) -> bytes:
    directory = ImageFileDirectory_v2()
    for tag, value in tags.items():
        directory[tag] = value
    return make.saved(Image.fromarray(CENTIKELVIN), "TIFF", tiffinfo=directory)


@pytest.mark.parametrize(
    ("tags", "params"),
    [
        ({280: 29_000, 281: 31_000}, {}),
        ({340: 29_000.0, 341: 31_000.0}, {}),
        ({280: 29_000, 281: 31_000}, {"unit": "centikelvin"}),
        ({270: '{"unit": "centikelvin"}', 280: 29_000, 281: 31_000}, {}),
        ({270: "unit = centikelvin\nlow: 16.85\nhigh: 36.85"}, {}),
        ({280: 0, 281: 1}, {"unit": "centikelvin", "low": 16.85, "high": 36.85}),
    ],
)
def test_a_tiff_names_its_span_and_unit_itself_and_the_caller_wins(make, tags, params):
    wanted = load(SHOWN, make.npy(CENTIKELVIN), {"low": 29_000, "high": 31_000}, LIMITS)
    assert load(SHOWN, tiff(make, tags), params, LIMITS) == pytest.approx(wanted, abs=0.01)


@pytest.mark.parametrize("tags", [{}, {280: 0, 281: 65_535}, {280: 5, 281: 5}, {270: "my garden"}, {270: "[" * 3000}])
def test_a_tiff_that_names_no_span_needs_one_from_the_caller(make, tags):
    with pytest.raises(InvalidMedia, match="needs low and high"):
        load(SHOWN, tiff(make, tags), {}, LIMITS)


def test_inspection_gives_the_span_that_a_tiff_names(make):
    _, notes = read(
        "thermal-parameters-v1", tiff(make, {270: '{"unit": "centikelvin"}', 280: 29_000, 281: 31_000}), {}, LIMITS
    )
    assert {name: one.value for name, one in notes.parameters.items()} == {
        "unit": "centikelvin",
        "low": 16.85,
        "high": 36.85,
    }


def test_a_thermal_picture_is_opened_once(make, monkeypatch):
    """The first opening already tells colour from grey; a second one cost a tenth of the whole."""
    opened = []
    real = Image.open
    monkeypatch.setattr(Image, "open", lambda *given, **named: opened.append(1) or real(*given, **named))
    load(SHOWN, make.grey16(CENTIKELVIN), {"low": 29_000, "high": 31_000}, LIMITS)
    assert len(opened) == 1
