"""Habits of depth and thermal files, as properties: for every file and unit the array is the plain map's."""

import io
import tempfile
from pathlib import Path

import Imath
import numpy as np
import OpenEXR
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from scipy.io import savemat

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load, read
from tests.media.conftest import Make
from tests.media.flir_file import radiometric, scene

LIMITS, MAKE = Limits(), Make()
DEPTH, THERMAL = "depth-sunrgbd-v1", "shown-thermal-v1"
CAMERA = {"focal_px": 520.0, "baseline_m": 0.075}
RAMP = np.add.outer(np.linspace(0, 1, 30), np.linspace(0, 1, 40)).astype(np.float32) / 2
few = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def exr(values: np.ndarray, channel: str) -> bytes:
    header = OpenEXR.Header(values.shape[1], values.shape[0])
    header["channels"] = {channel: Imath.Channel(Imath.PixelType(Imath.PixelType.FLOAT))}
    with tempfile.TemporaryDirectory() as folder:  # OpenEXR writes to files alone
        file = OpenEXR.OutputFile(f"{folder}/map.exr", header)
        file.writePixels({channel: values.astype(np.float32).tobytes()})
        file.close()
        return Path(folder, "map.exr").read_bytes()


def npz(**arrays: object) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def mat(**arrays: object) -> bytes:
    out = io.BytesIO()
    savemat(out, arrays)
    return out.getvalue()


def oriented(values: np.ndarray, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return MAKE.saved(Image.fromarray(values), "PNG", exif=exif)


def turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """As a viewer shows stored values of this orientation (EXIF 2.32, 4.6.4 A)."""
    shown = values.T if orientation >= 5 else values
    shown = shown[::-1] if orientation in (3, 4, 7, 8) else shown
    return np.ascontiguousarray(shown[:, ::-1] if orientation in (2, 3, 6, 7) else shown)


@few
@given(
    kind=st.sampled_from(["exr", "exr Z", "npz", "npz beside others", "mat", "column"]),
    share=st.floats(0.0, 0.3),
    hole=st.sampled_from([np.nan, np.inf, -np.inf, 0.0]),
)
def test_a_depth_map_is_one_whatever_its_container(kind, share, hole):
    metres = 1 + 4 * RAMP
    metres[: int(share * 30), :5] = hole
    files = {
        "exr": lambda: exr(metres, "Y"),
        "exr Z": lambda: exr(metres, "Z"),
        "npz": lambda: npz(depth=metres),
        "npz beside others": lambda: npz(depth=metres, confidence=np.ones_like(metres)),
        "mat": lambda: mat(depth=metres),
        "column": lambda: MAKE.npy(metres[:, :, None]),
    }
    params = {"unit": "m", **CAMERA}
    assert np.array_equal(load(DEPTH, files[kind](), params, LIMITS), load(DEPTH, MAKE.npy(metres), params, LIMITS))


@few
@given(orientation=st.integers(1, 8), recipe=st.sampled_from([DEPTH, THERMAL]))
def test_the_orientation_of_maps_is_followed(orientation, recipe):
    millimetres = np.rint(1000 + 8000 * RAMP).astype(np.uint16)
    params = {"unit": "mm", **CAMERA} if recipe == DEPTH else {"low": 0.0, "high": 10_000.0}
    upright = load(recipe, MAKE.grey16(turned(millimetres, orientation)), params, LIMITS)
    assert np.array_equal(load(recipe, oriented(millimetres, orientation), params, LIMITS), upright)


@few
@given(
    unit=st.sampled_from([{"unit": "m"}, {"unit": "mm"}, {"scale": 5000.0}, {"scale": 256.0}]),
    factor=st.floats(51, 900),
)
def test_depths_that_all_lie_too_far_are_refused_with_their_numbers(unit, factor):
    """All count as 50 m: a flat map, of another unit than the request says."""
    numbers = {"m": 1.0, "mm": 1000.0}.get(unit.get("unit"), unit.get("scale"))
    with pytest.raises(
        InvalidMedia, match=r"every depth lies above 50 m \(yours are [\d,.]+ to [\d,.]+ m with"
    ) as caught:
        load(DEPTH, MAKE.npy(((1 + RAMP) * numbers * factor).astype(np.float32)), {**unit, **CAMERA}, LIMITS)
    assert caught.value.param == "unit"


@few
@given(share=st.floats(0.3, 0.9), unit=st.sampled_from([{"unit": "m"}, {"scale": 256.0}]))
def test_the_share_of_depths_beyond_the_clamp_is_said(share, unit):
    metres = np.where(np.linspace(0, 1, 1600) < share, 60.0, 2.0).reshape(40, 40) * unit.get("scale", 1.0)
    warned = read(DEPTH, MAKE.npy(metres.astype(np.float32)), {**unit, **CAMERA}, LIMITS)[1].warnings
    (words,) = [one for one in warned if one.endswith("% of the depths lie above 50 m and count as that"[1:])]
    assert int(words.partition("%")[0]) == pytest.approx(100 * share, abs=1)


@few
@given(power=st.floats(1e-6, 9e-3))
def test_a_depth_map_whose_disparities_are_flat_is_refused_with_its_numbers(power):
    with pytest.raises(
        InvalidMedia, match=r"flat: of its disparities every value lies below low .*yours are"
    ) as caught:
        load(DEPTH, MAKE.npy(1 + RAMP), {"unit": "m", "focal_px": 1.0, "baseline_m": max(power, 1e-4)}, LIMITS)
    assert caught.value.param == "unit"


@few
@given(share=st.floats(0.3, 0.9), above=st.booleans())
def test_the_share_of_a_thermal_picture_at_a_clamp_is_said(share, above):
    values = np.linspace(0, 1, 64 * 64).reshape(64, 64)
    span = {"low": -1.0, "high": 1 - share} if above else {"low": share, "high": 2.0}
    warned = read(THERMAL, MAKE.npy(values), span, LIMITS)[1].warnings
    (words,) = [one for one in warned if "of the values lie " + ("above" if above else "below") in one]
    assert int(words.partition("%")[0]) == pytest.approx(100 * share, abs=1)


@few
@given(low=st.integers(300, 30_000), spread=st.integers(300, 30_000), kind=st.sampled_from(["PNG", "TIFF", "npy"]))
def test_a_deep_thermal_picture_without_a_range_is_refused_with_its_numbers(low, spread, kind):
    values = np.rint(low + 2 * RAMP / (2 * RAMP).max() * spread).astype(np.uint16)
    data = MAKE.npy(values) if kind == "npy" else MAKE.grey16(values, kind)
    with pytest.raises(InvalidMedia, match=f"its values go from {low:,} to {low + spread:,}$") as caught:
        load(THERMAL, data, {}, LIMITS)
    assert caught.value.param == "low"


@few
@given(low=st.integers(1, 30_000), spread=st.integers(10, 30_000), tags=st.sampled_from([(280, 281), (340, 341)]))
def test_the_span_of_a_tiffs_tags_is_the_callers_span(low, spread, tags):
    values = np.rint(low + RAMP * spread).astype(np.uint16)
    directory = ImageFileDirectory_v2()
    directory[tags[0]], directory[tags[1]] = low, low + spread
    data = MAKE.saved(Image.fromarray(values), "TIFF", tiffinfo=directory)
    span = {"low": float(low), "high": float(low + spread)}
    assert np.array_equal(load(THERMAL, data, {}, LIMITS), load(THERMAL, MAKE.npy(values), span, LIMITS))


@few
@given(hole=st.sampled_from([np.nan, np.inf, -np.inf]), unit=st.sampled_from(["celsius", "kelvin", "centikelvin"]))
def test_nan_and_infinity_are_no_reading_of_a_thermal_picture(hole, unit):
    """No reading is 0, as the span's lower end."""
    celsius = 20 + 30 * RAMP
    factor, offset = {"celsius": (1, 0), "kelvin": (1, 273.15), "centikelvin": (100, 27_315)}[unit]
    span, absent, cold = {"unit": unit, "low": 15.0, "high": 40.0}, celsius.copy(), celsius.copy()
    absent[4:9, 4:9], cold[4:9, 4:9] = hole, 15.0
    array, notes = read(THERMAL, MAKE.npy(absent * factor + offset), span, LIMITS)
    assert array == pytest.approx(load(THERMAL, MAKE.npy(cold * factor + offset), span, LIMITS), abs=0.005)
    assert notes.facts["no reading"] == f"{25 / absent.size:.1%} of the pixels"


@few
@given(coldest=st.floats(-20, 30), warm=st.floats(20, 80), png=st.booleans(), big_endian=st.booleans())
def test_a_radiometric_picture_is_its_temperatures(coldest, warm, png, big_endian):
    celsius = coldest + (scene(64, 48) - 20) * warm / 40
    span = {"low": coldest, "high": coldest + warm}
    data = radiometric(celsius, png, big_endian)
    wanted = load(THERMAL, MAKE.npy(celsius), {"unit": "celsius", **span}, LIMITS)
    assert load(THERMAL, data, span, LIMITS) == pytest.approx(wanted, abs=0.02)


@few
@given(
    stated=st.sampled_from([{"name": "depth_mm"}, {"depth_scale": 1000.0}, {"depth_scale": 0.001}]),
    given_=st.sampled_from([{"unit": "m"}, {"unit": "mm"}, {"scale": 1000.0}, {"scale": 500.0}]),
)
def test_a_request_against_the_files_own_unit_counts_and_is_warned_of(stated, given_):
    values = 20 + 20 * RAMP  # as metres and as millimetres within what this small camera sees
    scale = {name: value for name, value in stated.items() if name != "name"}
    data, params = (
        npz(**{stated.get("name", "depth"): values}, **scale),
        {"focal_px": 12.0, "baseline_m": 0.075, **given_},
    )
    agree = given_.get("unit") == "mm" or given_.get("scale") == 1000.0
    array, notes = read(DEPTH, data, params, LIMITS)
    assert np.array_equal(array, load(DEPTH, MAKE.npy(values), params, LIMITS))
    assert any("the file says" in one and "the request's counts" in one for one in notes.warnings) != agree


def test_the_words_of_a_contradiction_name_both_values():
    data = npz(depth_mm=20 + 40 * RAMP, fx=12.0, baseline=0.075)
    warned = read(DEPTH, data, {"unit": "disparity", "focal_px": 14.0, "baseline_m": 0.0751}, LIMITS)[1].warnings
    assert "the file says unit mm, the request unit disparity: the request's counts" in warned
    assert "the file says focal_px 12, the request focal_px 14: the request's counts" in warned
    assert not any("baseline" in one for one in warned)
    assert read(DEPTH, data, {}, LIMITS)[1].warnings == []


def test_a_unit_against_a_cameras_constants_is_warned_of():
    data = radiometric()
    assert any("unit is not used" in one for one in read(THERMAL, data, {"unit": "kelvin"}, LIMITS)[1].warnings)
    assert not read(THERMAL, data, {"unit": "celsius"}, LIMITS)[1].warnings
