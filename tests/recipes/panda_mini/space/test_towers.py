"""The small towers and how they are aligned: shapes, the encoder's promises, and that alignment works at all."""

import numpy as np
import pytest
import torch

from pandagpt_core.encoders.mini.encoder import MiniEncoder
from pandagpt_core.encoders.mini.towers import SignalTower
from pandagpt_core.errors import CheckpointError, KeyMismatch, UnsupportedModality
from pandagpt_core.training.log import Log
from pandagpt_core.types import Modality
from recipes.panda_mini.data.motion import window
from recipes.panda_mini.space.towers import Items, TowerConfig, align_tower, image_bank

IMU = {"height": 6, "span": 2000, "kernel": [6, 8], "stride": [6, 8], "width": 8, "layers": 1, "heads": 2}
AUDIO = {"height": 128, "span": 204, "kernel": [16, 16], "stride": [10, 10], "width": 8, "layers": 1, "heads": 2}
SIZES = {"dim": 5, "towers": {"imu": IMU, "audio": AUDIO}}


def test_each_tower_gives_unit_vectors_of_the_spaces_width() -> None:
    encoder = MiniEncoder.load(SIZES, MiniEncoder(SIZES).state_dict())
    for modality, shape in ((Modality.IMU, (2, 6, 2000)), (Modality.AUDIO, (2, 1, 128, 204))):
        found = encoder.encode(modality, torch.randn(shape))
        assert found.shape == (2, 5)
        torch.testing.assert_close(found.norm(dim=-1), torch.ones(2))


def test_recipes_are_those_of_the_towers_that_are_there() -> None:
    assert MiniEncoder(SIZES).recipes == {Modality.IMU: "imu-v1", Modality.AUDIO: "mixed-audio-v1"}


def test_a_modality_without_a_tower_is_refused() -> None:
    with pytest.raises(UnsupportedModality, match="no tower for depth"):
        MiniEncoder(SIZES).encode(Modality.DEPTH, torch.zeros(1, 1, 224, 224))


def test_every_key_is_accounted_for() -> None:
    state = MiniEncoder(SIZES).state_dict()
    state["spare"] = state.pop("towers.imu.positions")
    with pytest.raises(KeyMismatch) as caught:
        MiniEncoder.load(SIZES, state)
    assert (caught.value.missing, caught.value.left_over) == (("towers.imu.positions",), ("spare",))


def test_sizes_that_describe_no_tower_are_refused() -> None:
    with pytest.raises(CheckpointError, match="sizes do not describe towers"):
        MiniEncoder.load({"dim": 4, "towers": {"smell": {}}}, {})


def test_a_tower_learns_to_lie_where_the_pictures_of_its_concepts_lie() -> None:
    torch.manual_seed(0)
    bank = image_bank(torch.eye(4)[:3], torch.arange(3), 3)
    tower = SignalTower(4, 8, 8, (4, 4), (4, 4), 16, 1, 2)
    concept = np.arange(30) % 3
    maps = np.random.default_rng(0).normal(concept[:, None, None, None], 0.1, (30, 1, 8, 8)).astype(np.float32)
    items = Items(maps, concept)
    align_tower(tower, items, bank, lambda array, _rng: array, TowerConfig(steps=120, batch=16, lr=3e-3), Log())
    assert (tower(torch.from_numpy(maps)) @ bank.T).argmax(dim=1).tolist() == concept.tolist()


def test_a_window_of_motion_is_what_the_recipe_gives() -> None:
    rows = np.arange(600, dtype=np.float64).reshape(100, 6)
    found = window(rows, 2.5)
    assert found.shape == (6, 2000)
    assert found[0, 0] == 25 * 6
