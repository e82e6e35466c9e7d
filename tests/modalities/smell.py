"""The media module of the invented modality: see `test_invented`."""

import numpy as np

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import params as p
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.modalities import Number

STRENGTH = Number("strength", "how near it is", 0.0, 2.0, "noses")


def nose(data: bytes, params: p.Params, limits: Limits) -> np.ndarray:
    """Bytes are intensities; [1, 4]."""
    p.only(params, ("strength",))
    check(len(data), 16, "the smell", "notes")
    if len(data) < 4:
        raise InvalidMedia("a smell has four notes")
    strength = p.number(params, STRENGTH) or 1.0
    return np.frombuffer(data, np.uint8, 4).astype(np.float32)[None] * np.float32(strength)


def rose() -> bytes:
    return b"rose"
