"""The display matrix and the pixel aspect of a film, as properties: both show what the changed pixels show."""

import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pandagpt_core.media import Limits, load, read
from tests.media.conftest import Make

MAKE, LIMITS = Make(), Limits()
# a, b, c, d of the matrix -> how a viewer changes [H, W] pixels.
MATRICES = {
    (1, 0, 0, 1): lambda rgb: rgb,
    (-1, 0, 0, -1): lambda rgb: np.rot90(rgb, 2),
    (0, 1, -1, 0): lambda rgb: np.rot90(rgb, -1),
    (0, -1, 1, 0): lambda rgb: np.rot90(rgb, 1),
    (-1, 0, 0, 1): np.fliplr,
    (1, 0, 0, -1): np.flipud,
}


def with_matrix(film: bytes, a: int, b: int, c: int, d: int) -> bytes:
    """ISO 14496-12, tkhd: 16.16 numbers a, b, u, c, d after 40 bytes of the box's body."""
    at = film.index(b"tkhd") + 44
    return film[:at] + struct.pack(">5i", a << 16, b << 16, 0, c << 16, d << 16) + film[at + 20 :]


@settings(max_examples=12, deadline=None)
@given(matrix=st.sampled_from(sorted(MATRICES)), across=st.integers(0, 3), down=st.integers(0, 3))
def test_a_display_matrix_shows_what_the_turned_pixels_show(matrix, across, down):
    frame = np.full((64, 96, 3), 40, np.uint8)
    frame[8 * down : 8 * down + 24, 12 * across : 12 * across + 36] = (230, 120, 60)
    stored = with_matrix(MAKE.video([frame] * 3), *matrix)
    upright = MAKE.video([np.ascontiguousarray(MATRICES[matrix](frame))] * 3)
    array, wanted = (load("lite0-video-v1", film, {}, LIMITS) for film in (stored, upright))
    assert float(np.abs(array - wanted).mean()) == pytest.approx(0, abs=0.03)


def with_aspect(frames: list[np.ndarray], codec: str, kind: str, aspect: Fraction) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.bit_rate, stream.thread_count = "yuv420p", 4_000_000, 1
        stream.codec_context.sample_aspect_ratio = aspect
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode(None))
    return out.getvalue()


@settings(max_examples=12, deadline=None)
@given(
    aspect=st.sampled_from([Fraction(1, 2), Fraction(3, 4), Fraction(8, 9), Fraction(4, 3), Fraction(2), Fraction(3)]),
    form=st.sampled_from([("mpeg4", "mp4"), ("libx264", "matroska"), ("libx264", "mpegts"), ("libx264", "mov")]),
    across=st.integers(0, 3),
)
def test_a_pixel_aspect_shows_what_square_pixels_show(aspect, form, across):
    """The stored film has its width divided by the aspect."""
    wide = np.full((96, 144, 3), 40, np.uint8)
    wide[24:72, 24 * across : 24 * across + 48] = (230, 120, 60)
    stored = np.asarray(Image.fromarray(wide).resize((round(144 / aspect) // 2 * 2, 96), Image.Resampling.BICUBIC))
    array, notes = read("lite0-video-v1", with_aspect([stored] * 3, *form, aspect), {}, LIMITS)
    square = load("lite0-video-v1", with_aspect([wide] * 3, *form, Fraction(1)), {}, LIMITS)
    assert float(np.abs(array - square).mean()) == pytest.approx(0, abs=0.05)
    assert float(notes.facts["pixel aspect"]) == pytest.approx(float(aspect), abs=0.01)
