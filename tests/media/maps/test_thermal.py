"""Thermal pictures: 8 bits as published, deeper ones only with the span they cover."""

import numpy as np
import pytest

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load

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
