"""Depth maps: the conversion to disparity, its units, and what it refuses to guess."""

import numpy as np
import pytest
from PIL import Image

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load, read

RECIPE, LIMITS = "depth-sunrgbd-v1", Limits()
CAMERA = {"focal_px": 520.0, "baseline_m": 0.075}


def normalised(disparity: float) -> float:
    return (disparity / 75.0 - 0.0418) / 0.0295


def flat(value: float, dtype: str = "float32") -> np.ndarray:
    return np.full((30, 40), value, dtype)


def test_metres_become_normalised_disparity(make):
    array = load(RECIPE, make.npy(flat(2.0)), {"unit": "m", **CAMERA}, LIMITS)
    assert array.shape == (1, 1, 224, 224)
    assert array.dtype == np.float32
    assert array == pytest.approx(normalised(0.075 * 520 / 2), rel=1e-4)


def test_all_units_of_one_scene_agree(make):
    metres = load(RECIPE, make.npy(flat(2.5)), {"unit": "m", **CAMERA}, LIMITS)
    millimetres = load(RECIPE, make.grey16(flat(2500, "uint16")), {"unit": "mm", **CAMERA}, LIMITS)
    rotated = flat((2500 << 3) & 0xFFFF, "uint16") | flat(2500 >> 13, "uint16")
    sunrgbd = load(RECIPE, make.grey16(rotated), {"unit": "sunrgbd", **CAMERA}, LIMITS)
    ready = load(RECIPE, make.npy(flat(0.075 * 520 / 2.5)), {"unit": "disparity"}, LIMITS)
    for other in (millimetres, sunrgbd, ready):
        assert other == pytest.approx(metres, rel=1e-4)


def test_sunrgbd_rotation_brings_high_bits_back_and_clips_at_eight_metres(make):
    rotated = flat((9000 << 3 & 0xFFFF) | (9000 >> 13), "uint16")  # 9 m needs the bits that wrapped around
    array = load(RECIPE, make.grey16(rotated), {"unit": "sunrgbd", **CAMERA}, LIMITS)
    assert array == pytest.approx(normalised(0.075 * 520 / 8), rel=1e-4)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_pictures_are_read(make, kind):
    data = make.grey16(flat(2000, "uint16"), kind)
    assert load(RECIPE, data, {"unit": "mm", **CAMERA}, LIMITS) == pytest.approx(normalised(19.5), rel=1e-4)


def test_a_float_tiff_is_read(make):
    data = make.saved(Image.fromarray(flat(2.0)), "TIFF")
    assert load(RECIPE, data, {"unit": "m", **CAMERA}, LIMITS) == pytest.approx(normalised(19.5), rel=1e-4)


@pytest.mark.parametrize(("metres", "disparity"), [(60.0, 0.075 * 520 / 50), (0.02, 75.0)])
def test_depth_and_disparity_are_clamped(make, metres, disparity):
    scene = flat(2.0)
    scene[:, 20:] = metres
    array = load(RECIPE, make.npy(scene), {"unit": "m", **CAMERA}, LIMITS)[0, 0]
    assert array[:, -20:] == pytest.approx(normalised(disparity), rel=1e-4)


@pytest.mark.parametrize("hole", [0.0, -1.0, np.nan, np.inf, -np.inf])
def test_no_reading_counts_as_infinitely_far_and_not_as_nearest(make, hole):
    scene = flat(2.0)
    scene[:, 20:] = hole
    array = load(RECIPE, make.npy(scene), {"unit": "m", **CAMERA}, LIMITS)[0, 0]
    assert array[:, -20:] == pytest.approx(normalised(0.01), rel=1e-4)
    assert array[:, :20] == pytest.approx(normalised(19.5), rel=1e-4)


def test_a_map_without_any_reading_is_refused(make):
    with pytest.raises(InvalidMedia, match="no reading"):
        load(RECIPE, make.npy(flat(0)), {"unit": "m", **CAMERA}, LIMITS)


@pytest.mark.parametrize("missing", ["focal_px", "baseline_m"])
@pytest.mark.parametrize("unit", ["m", "mm", "sunrgbd"])
def test_metric_depth_without_the_camera_is_refused_naming_what_is_missing(make, unit, missing):
    params = {"unit": unit, **{name: value for name, value in CAMERA.items() if name != missing}}
    with pytest.raises(InvalidMedia, match=f"{missing} is required") as caught:
        load(RECIPE, make.npy(flat(2, "uint16")), params, LIMITS)
    assert caught.value.param == missing


@pytest.mark.parametrize("unit", [None, "feet", 3, "M"])
def test_the_unit_is_never_guessed(make, unit):
    params = CAMERA if unit is None else {"unit": unit, **CAMERA}
    with pytest.raises(InvalidMedia, match="unit must be one of m, mm, disparity, sunrgbd, relative") as caught:
        load(RECIPE, make.npy(flat(2)), params, LIMITS)
    assert caught.value.param == "unit"


@pytest.mark.parametrize("value", [0.0, -5.0, float("nan"), float("inf"), 1e18, True, "520"])
def test_an_impossible_focal_length_is_refused(make, value):
    with pytest.raises(InvalidMedia) as caught:
        load(RECIPE, make.npy(flat(2)), {"unit": "m", "baseline_m": 0.075, "focal_px": value}, LIMITS)
    assert caught.value.param == "focal_px"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_map_of_no_number_at_all_is_refused(make, bad):
    for data in (make.npy(flat(bad)), make.saved(Image.fromarray(flat(bad)), "TIFF")):
        with pytest.raises(InvalidMedia, match="no reading"):
            load(RECIPE, data, {"unit": "m", **CAMERA}, LIMITS)


def test_a_colour_picture_is_no_depth_map(make):
    with pytest.raises(InvalidMedia, match="mode RGB; it must be a grey PNG"):
        load(RECIPE, make.picture(mode="RGB"), {"unit": "disparity"}, LIMITS)


def test_sunrgbd_takes_integers_only(make):
    with pytest.raises(InvalidMedia, match="16-bit integers"):
        load(RECIPE, make.npy(flat(2.0)), {"unit": "sunrgbd", **CAMERA}, LIMITS)


def test_the_centre_of_a_wide_map_is_kept(make):
    scene = np.full((20, 60), 4.0, np.float32)
    scene[:, 20:40] = 1.0
    array = load(RECIPE, make.npy(scene), {"unit": "m", **CAMERA}, LIMITS)[0, 0]
    assert array[:, 20:-20] == pytest.approx(normalised(39.0), rel=1e-3)


def test_a_needle_costs_no_more_than_a_square(make):
    data = make.npy(np.full((1, 1_000_000), 2.0, np.float32))
    assert load(RECIPE, data, {"unit": "m", **CAMERA}, LIMITS) == pytest.approx(normalised(19.5), rel=1e-4)


def test_of_relative_depth_too_the_shares_at_the_clamps_are_said(make):
    """The far quarter lies 1.65 deviations below the mean; the clamp lies 1.41 below it."""
    scene = np.full((224, 224), 200.0)
    scene[:60] = 0.0
    _, notes = read("depth-sunrgbd-v1", make.npy(scene), {"unit": "relative"}, Limits())
    assert notes.facts["share above high"] == "0.0%"
    assert float(notes.facts["share below low"].rstrip("%")) == pytest.approx(100 * 60 / 224, abs=0.1)
    assert notes.warnings == ["27% of the values lie below low (the range of disparity)"]
