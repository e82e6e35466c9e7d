"""LanguageBind's depth and thermal pictures: three channels with CLIP's statistics."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load
from pandagpt_core.media.pictures.pixels import MEAN, STD

DEPTH, THERMAL, LIMITS = "languagebind-depth-v1", "languagebind-thermal-v1", Limits()


def shares(array: np.ndarray) -> np.ndarray:
    """[3, 224, 224] before CLIP's statistics."""
    return array[0] * STD[:, None, None] + MEAN[:, None, None]


def coloured(picture: Image.Image, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    picture.save(out, kind)
    return out.getvalue()


def test_metres_up_to_ten_become_shares_in_three_equal_channels(make):
    metres = np.linspace(0.5, 12.0, 300 * 400).reshape(300, 400).astype(np.float32)
    array = load(DEPTH, make.npy(metres), {"unit": "m"}, LIMITS)
    assert array.shape == (1, 3, 224, 224)
    assert array.dtype == np.float32
    clipped = torch.tensor(metres).clip(0.01, 10.0) / 10.0
    sides = {"size": (224, 298), "mode": "bicubic", "antialias": True, "align_corners": False}
    wanted = torch.nn.functional.interpolate(clipped[None, None], **sides)[0, 0, :, 37:261].numpy()
    for channel in shares(array):
        np.testing.assert_allclose(channel, wanted, atol=1e-4)


def test_units_give_one_array(make):
    metres = np.linspace(1.0, 4.0, 64 * 64).reshape(64, 64)
    plain = load(DEPTH, make.npy(metres), {"unit": "m"}, LIMITS)
    camera = {"focal_px": 500.0, "baseline_m": 0.1}
    others = {
        "mm": (metres * 1000.0, {"unit": "mm"}),
        "scale": (metres * 256.0, {"scale": 256.0}),
        "disparity": (50.0 / metres, {"unit": "disparity", **camera}),
    }
    for values, params in others.values():
        np.testing.assert_allclose(load(DEPTH, make.npy(values), params, LIMITS), plain, atol=1e-5)


def test_no_reading_is_furthest(make):
    holes = np.full((64, 64), 2.0)
    holes[::2, :8], holes[1::2, :8] = np.nan, 0.0
    array = shares(load(DEPTH, make.npy(holes), {"unit": "m"}, LIMITS))
    assert array[0, :, :20] == pytest.approx(1.0, abs=1e-4)
    assert array[0, :, 40:] == pytest.approx(0.2, abs=1e-4)


@pytest.mark.parametrize(
    ("values", "params", "words"),
    [
        (np.linspace(0.1, 0.9, 64), {"unit": "relative"}, "reads depth in metres"),
        (np.linspace(12.0, 40.0, 64), {"unit": "m"}, "the map is flat: of its metres every value lies above high"),
        (np.zeros(64), {"unit": "m"}, "no reading above 0"),
        (np.linspace(1.0, 3.0, 64), {}, "unit must be one of"),
        (np.linspace(1.0, 30.0, 64), {"unit": "disparity"}, "focal_px is required"),
    ],
)
def test_what_has_no_metres_is_refused(make, values, params, words):
    with pytest.raises(InvalidMedia, match=words):
        load(DEPTH, make.npy(values.reshape(8, 8)), params, LIMITS)


def test_grey_heat_fills_three_equal_channels(make):
    degrees = np.linspace(10.0, 40.0, 64 * 64).reshape(64, 64)
    params = {"unit": "celsius", "low": 0.0, "high": 50.0}
    grey = load("shown-thermal-v1", make.npy(degrees), params, LIMITS)[0, 0]
    for channel in shares(load(THERMAL, make.npy(degrees), params, LIMITS)):
        np.testing.assert_allclose(channel, grey, atol=1e-6)


def test_a_camera_s_palette_keeps_its_colours():
    picture = Image.new("RGB", (300, 240), (250, 120, 10))
    picture.paste((20, 0, 90), (0, 0, 150, 240))
    array = shares(load(THERMAL, coloured(picture), {}, LIMITS))
    np.testing.assert_allclose(array[:, 100, 200] * 255, (250, 120, 10), atol=1e-3)
    np.testing.assert_allclose(array[:, 100, 20] * 255, (20, 0, 90), atol=1e-3)
    with pytest.raises(InvalidMedia, match="single grey channel"):
        load(THERMAL, coloured(picture), {"low": 0.0, "high": 9.0}, LIMITS)
