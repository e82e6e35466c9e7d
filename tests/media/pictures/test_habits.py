"""Pictures of other cameras as properties: AVIF, and JPEGs of more pixels than the limit."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pandagpt_core.media import Limits, load, read
from tests.media.conftest import Make

MAKE = Make()
few = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def scene(width: int, height: int, at: int) -> Image.Image:
    """A ramp with a square, none of which is fine enough to be lost by a lossy codec."""
    ramp = np.add.outer(np.linspace(0, 90, height), np.linspace(0, 90, width))
    ramp[height // 4 : height // 2, width * at // 8 : width * at // 8 + width // 4] = 240
    return Image.fromarray(np.repeat(ramp[:, :, None], 3, axis=2).astype(np.uint8))


@few
@given(
    width=st.integers(60, 300),
    height=st.integers(60, 300),
    at=st.integers(0, 5),
    recipe=st.sampled_from(["lite0-image-v1", "imagebind-image-v1"]),
)
def test_avif_shows_what_png_shows(width, height, at, recipe):
    picture = scene(width, height, at)
    array = load(recipe, MAKE.saved(picture, "AVIF", quality=95), {}, Limits())
    assert float(np.abs(array - load(recipe, MAKE.saved(picture), {}, Limits())).mean()) < 0.05


@few
@given(width=st.integers(600, 1600), height=st.integers(600, 1600), at=st.integers(0, 5), share=st.floats(0.02, 0.9))
def test_a_jpeg_beyond_the_limit_is_decoded_smaller_and_shows_the_same(width, height, at, share):
    data = MAKE.saved(scene(width, height, at), "JPEG", quality=95)
    array, notes = read("lite0-image-v1", data, {}, Limits(pixels=max(int(width * height * share), 250 * 250)))
    assert any("it is decoded at 1/" in one for one in notes.warnings)
    assert float(np.abs(array - load("lite0-image-v1", data, {}, Limits())).mean()) < 0.05
