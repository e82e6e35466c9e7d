"""The shapes for which the small default's towers are compiled are those that its recipes give."""

import io
import wave
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pandagpt_core.encoders.mini.encoder import MiniEncoder
from pandagpt_core.encoders.static.choice import SMALL
from pandagpt_core.media.limits import Limits
from pandagpt_core.media.pictures.image import lite0_detail
from pandagpt_core.media.sound.audio import mixed
from pandagpt_core.types import Modality

SIZES = {"image": {"hidden": 8}, "audio": {"kind": "sound", "width": 32, "bands": 128}, "things": {}}


def photo() -> bytes:
    """Of nothing that stands on a plain ground, so that things are looked for."""
    out = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (240, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(out, "PNG")
    return out.getvalue()


def sound() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(np.random.default_rng(0).integers(-9000, 9000, 32_000, dtype=np.int16).tobytes())
    return out.getvalue()


@pytest.fixture(scope="module")
def encoder() -> MiniEncoder:
    torch.manual_seed(0)
    return MiniEncoder({"dim": 256, "towers": SIZES}).eval().requires_grad_(False)


def shapes(encoder: MiniEncoder, modality: Modality, array: np.ndarray) -> Mapping[str, set[tuple[int, ...]]]:
    """Of the clips that each tower of one shape is given."""
    seen: dict[str, set[tuple[int, ...]]] = {tower.name: set() for tower in encoder.static_towers()}

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_pre_hook(lambda _, given: seen[name].add(tuple(given[0].shape[1:])))

    handles = [watch(tower.name, tower.module) for tower in encoder.static_towers()]
    encoder.rows(modality, [array])
    for handle in handles:
        handle.remove()
    return seen


def test_a_picture_and_a_sound_have_the_compiled_shapes(encoder: MiniEncoder) -> None:
    compiled = {tower.name: {tuple(tower.clip.shape[1:])} for tower in encoder.static_towers()}
    pictured = shapes(encoder, Modality.IMAGE, lite0_detail(photo(), {}, Limits()))
    heard = shapes(encoder, Modality.AUDIO, mixed(sound(), {}, Limits()))
    assert {**pictured, "audio": heard["audio"]} == compiled


def test_each_is_large_enough_to_be_tried(encoder: MiniEncoder) -> None:
    weights = {t.name: sum(p.numel() for p in t.module.parameters()) for t in encoder.static_towers()}
    assert set(weights) == {"image", "audio", "things"}
    assert min(weights.values()) >= SMALL
