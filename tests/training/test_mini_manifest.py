"""Validation media written as files are read back by the service's own recipes."""

import numpy as np
import pytest

from pandagpt_core.media import Limits, load
from pandagpt_core.training.data.motion import RATE_HZ, window
from pandagpt_core.training.mini_manifest import map_medium, npy
from pandagpt_core.types import Modality


@pytest.mark.parametrize(
    ("kind", "recipe", "error"),
    [(Modality.DEPTH, "depth-sunrgbd-v1", 1e-4), (Modality.THERMAL, "imagebind-thermal-v1", 1 / 255)],
)
def test_a_map_written_as_a_file_is_read_as_the_same_map(kind: Modality, recipe: str, error: float) -> None:
    made = np.random.default_rng(0).uniform(0, 1, (1, 1, 224, 224)).astype(np.float32)
    _, data, suffix, params = map_medium(kind, made)
    assert suffix == ".npy"
    np.testing.assert_allclose(load(recipe, data, params, Limits()), made, atol=error)


def test_motion_written_as_a_file_is_read_as_the_five_seconds_in_its_middle() -> None:
    rows = np.random.default_rng(0).normal(size=(100, 6))
    read = load("imu-v1", npy(rows.astype(np.float32)), {"rate_hz": RATE_HZ}, Limits())
    np.testing.assert_allclose(read[0], window(rows, 2.5), atol=0.2)
    np.testing.assert_allclose(read[0, :, 0], rows[25], atol=0.2)
