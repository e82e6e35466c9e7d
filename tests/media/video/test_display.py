"""The display matrix of a film, as a property: all quarters and mirrors show what the turned pixels show."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pandagpt_core.media import Limits, load
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
