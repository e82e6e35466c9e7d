"""One place decides how samples are shown: transparency, blank first frames, emptiness; for every kind of picture."""

import io
import struct
import zlib

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load, read
from tests.media.conftest import Make

LIMITS, MAKE = Limits(), Make()
few = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
RAMP = np.add.outer(np.arange(48) * 2, np.arange(64) * 2).astype(np.uint8)
PICTURES = ["lite0-image-v1", "lite0-detail-v1"]
GROUND = "the drawing is as light as a white ground; it is shown on dark grey"
CAMERA = {"scale": 50.0, "focal_px": 525.0, "baseline_m": 0.1}


def drawing(level: int, mode: str = "RGBA") -> Image.Image:
    """A disc of one level on transparent ground, as [48, 64]."""
    across, down = np.meshgrid(np.arange(64), np.arange(48))
    alpha = (np.hypot(across - 32, down - 24) < 16).astype(np.uint8) * 255
    grey = np.full_like(alpha, level)
    return Image.fromarray(np.stack([grey, grey, grey, alpha], axis=2)).convert(mode)


def difference(array: np.ndarray, wanted: np.ndarray) -> float:
    """On average: at an edge the two are resized apart."""
    return float(np.abs(array - wanted).mean())


def on(ground: int, level: int) -> Image.Image:
    alpha = np.asarray(drawing(level))[:, :, 3:]
    return Image.fromarray(np.repeat(np.where(alpha > 0, level, ground), 3, axis=2).astype(np.uint8))


@few
@given(
    level=st.sampled_from([0, 60, 128, 200, 252, 255]),
    recipe=st.sampled_from([*PICTURES, "shown-thermal-v1"]),
    mode=st.just("LA") | st.just("RGBA"),
)
def test_a_drawing_on_transparent_ground_is_shown_on_a_ground_that_shows_it(level, recipe, mode):
    array, notes = read(recipe, MAKE.saved(drawing(level, mode)), {}, LIMITS)
    ground = 48 if level > 250 else 255
    assert (GROUND in notes.warnings) == (ground == 48)
    assert difference(array, load(recipe, MAKE.saved(on(ground, level)), {}, LIMITS)) < 0.03


@pytest.mark.parametrize(("level", "ground"), [(0, 255), (128, 255), (255, 48)])
def test_a_film_with_transparency_is_shown_on_such_a_ground(level, ground):
    """As `ffmpeg -c:v prores_ks -pix_fmt yuva444p10le` makes it."""
    out = io.BytesIO()
    with av.open(out, "w", format="mov") as container:
        stream = container.add_stream("prores_ks", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuva444p10le"
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(drawing(level)), format="rgba")))
        container.mux(stream.encode())
    array, notes = read("lite0-video-v1", out.getvalue(), {}, LIMITS)
    still = load("lite0-image-v1", MAKE.saved(on(ground, level)), {}, LIMITS)
    assert difference(array, np.repeat(still, 8, axis=0)) < 0.05
    assert (GROUND in notes.warnings) == (ground == 48)


@few
@given(
    blank=st.integers(0, 4),
    recipe=st.sampled_from([*PICTURES, "eva-image-v1", "shown-thermal-v1", "depth-sunrgbd-v1"]),
    kind=st.sampled_from(["PNG", "WEBP"]),
)
def test_a_blank_first_frame_is_passed_over_in_every_kind_of_picture(blank, recipe, kind):
    mode = "RGB" if kind == "WEBP" or ("thermal" not in recipe and "depth" not in recipe) else "L"
    kind = "PNG" if "depth" in recipe else kind
    params = CAMERA if "depth" in recipe else {}
    drawn = Image.fromarray(RAMP).convert("L" if "depth" in recipe else mode)
    frames = [
        *(Image.new(drawn.mode, (64, 48), level if drawn.mode == "L" else (level,) * 3) for level in range(blank)),
        drawn,
    ]
    extra = {"save_all": True, "append_images": frames[1:], "duration": 100}
    data = MAKE.saved(frames[0], kind, **extra, **({"lossless": True} if kind == "WEBP" else {}))
    array, notes = read(recipe, data, params, LIMITS)
    assert array == pytest.approx(load(recipe, MAKE.saved(drawn), params, LIMITS), abs=0.02)
    assert any("begins blank" in one for one in notes.warnings) == (blank > 0)


@few
@given(mode=st.sampled_from(["LA", "level", "float"]), hole=st.integers(1, 20))
def test_what_is_transparent_in_a_depth_map_is_no_reading(mode, hole):
    metres = np.clip(RAMP.astype(np.float32) + 20, 20, 210)
    absent = np.zeros(RAMP.shape, bool)
    absent[:hole, :hole] = True
    plain = MAKE.npy(np.where(absent, np.nan, metres))
    grey = metres.astype(np.uint8)
    if mode == "LA":
        data = MAKE.saved(Image.merge("LA", [Image.fromarray(grey), Image.fromarray((~absent).astype(np.uint8) * 255)]))
    elif mode == "level":
        data = MAKE.saved(Image.fromarray(np.where(absent, 255, grey).astype(np.uint8)), transparency=255)
    else:
        data = plain
    params = CAMERA
    array, notes = read("depth-sunrgbd-v1", data, params, LIMITS)
    assert array == pytest.approx(load("depth-sunrgbd-v1", plain, params, LIMITS), abs=0.02)
    assert notes.facts["no reading"] == f"{hole * hole / RAMP.size:.1%} of the pixels"


def test_a_map_that_cannot_be_seen_at_all_has_no_reading():
    data = MAKE.saved(Image.merge("LA", [Image.fromarray(RAMP), Image.new("L", (64, 48), 0)]))
    with pytest.raises(InvalidMedia, match="has no reading: all its values are NaN, infinity or transparent"):
        load("depth-sunrgbd-v1", data, CAMERA, LIMITS)


def test_sixteen_bits_with_transparency_are_refused_rather_than_cut_to_eight():
    rows = b"".join(
        b"\0" + struct.pack(">8H", *(500 * (x + y) if x % 2 == 0 else 65535 for x in range(8))) for y in range(4)
    )
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 4, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in parts)
    with pytest.raises(InvalidMedia, match="PNG picture of 16-bit grey with transparency"):
        load("depth-sunrgbd-v1", b"\x89PNG\r\n\x1a\n" + body, CAMERA, LIMITS)


@pytest.mark.parametrize(
    ("recipe", "data", "words"),
    [
        ("imagebind-image-v1", MAKE.saved(Image.new("RGB", (64, 48))), "The picture is all black."),
        ("imagebind-thermal-v1", MAKE.saved(Image.new("L", (64, 48), 9)), "The thermal picture is all of one value."),
        ("imagebind-video-v1", MAKE.video([np.full((48, 64, 3), 255, np.uint8)] * 4), "The video is all white."),
        ("imagebind-audio-v1", MAKE.sound(np.zeros(16000)), "The sound is silent."),
        (
            "imagebind-audio-v1",
            MAKE.sound(np.stack([np.zeros(16000), MAKE.tone()], axis=1)),
            "The first channel, which alone is read here, is silent.",
        ),
        ("eva-image-v1", MAKE.saved(Image.new("RGB", (64, 48))), "The picture is all black."),
    ],
)
def test_emptiness_is_said_by_published_recipes_too(recipe, data, words):
    assert read(recipe, data, {}, LIMITS)[1].warnings == [words]


@pytest.mark.parametrize("recipe", ["imagebind-image-v1", "imagebind-video-v1", "imagebind-audio-v1"])
def test_published_recipes_keep_the_originals_vector_of_emptiness(recipe):
    """Their media weigh what they weighed: a warning alone."""
    data = {
        "imagebind-image-v1": MAKE.saved(Image.new("RGB", (64, 48))),
        "imagebind-video-v1": MAKE.video([np.zeros((48, 64, 3), np.uint8)] * 4),
        "imagebind-audio-v1": MAKE.sound(np.zeros(16000)),
    }[recipe]
    assert not read(recipe, data, {}, LIMITS)[1].empty


@pytest.mark.parametrize("recipe", ["imagebind-image-v1", "eva-image-v1"])
def test_published_recipes_say_that_they_drop_transparency(recipe):
    array, notes = read(recipe, MAKE.saved(drawing(255)), {}, LIMITS)
    assert array == pytest.approx(load(recipe, MAKE.saved(drawing(255).convert("RGB")), {}, LIMITS))
    assert "The picture's transparency is dropped" in notes.warnings[0]
