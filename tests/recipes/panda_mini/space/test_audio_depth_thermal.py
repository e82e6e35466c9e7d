"""Sound, depth and heat: what their data are made of, the towers that read them, and that these learn."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from pandagpt_core.encoders.mini.encoder import MiniEncoder
from pandagpt_core.encoders.mini.senses import MapTower, SoundTower, map_features
from pandagpt_core.encoders.mini.trunk import EfficientNetLite0
from pandagpt_core.errors import CheckpointError
from pandagpt_core.media import Limits, load
from pandagpt_core.training.log import Log
from pandagpt_core.types import Modality
from recipes.panda_mini.concepts import load_concepts
from recipes.panda_mini.data.acoustics import CLIP, masked, picture, varied_wave
from recipes.panda_mini.data.foley import MAKERS
from recipes.panda_mini.data.held_out import wav
from recipes.panda_mini.data.media import Picture
from recipes.panda_mini.data.packages import PACKAGES
from recipes.panda_mini.data.recordings import NAMED, real_recordings
from recipes.panda_mini.data.synthetic import RELIEFS, drawn_layers, layers
from recipes.panda_mini.space.audio_depth_thermal import SensesConfig, scaled_into, train_maps
from recipes.panda_mini.space.towers import Items, TowerConfig, align_tower

CONCEPTS = load_concepts()
SIZES = {
    "dim": 8,
    "towers": {
        "image": {"hidden": 8},
        "audio": {"kind": "sound", "width": 8, "bands": 128},
        "depth": {"kind": "map", "hidden": 8},
        "thermal": {"kind": "map", "hidden": 8},
    },
}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def disc() -> Image.Image:
    cutout = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
    ImageDraw.Draw(cutout).ellipse((40, 40, 160, 160), fill=(200, 80, 40, 255))
    return cutout


def test_sounds_and_maps_become_unit_vectors_of_the_spaces_width() -> None:
    torch.manual_seed(0)
    encoder = MiniEncoder.load(SIZES, MiniEncoder(SIZES).state_dict())
    shapes = {Modality.AUDIO: (128, 204), Modality.DEPTH: (224, 224), Modality.THERMAL: (224, 224)}
    for modality, shape in shapes.items():
        found = encoder.encode(modality, torch.rand(2, 1, *shape))
        assert found.shape == (2, 8)
        torch.testing.assert_close(found.norm(dim=-1), torch.ones(2))


def test_maps_are_seen_by_the_image_towers_own_trunk() -> None:
    torch.manual_seed(0)
    encoder = MiniEncoder.load(SIZES, MiniEncoder(SIZES).state_dict())
    maps = torch.rand(1, 1, 224, 224)
    before = encoder.encode(Modality.DEPTH, maps)
    with torch.no_grad():
        encoder.towers["image"].trunk.head.bias += 1
    assert not torch.allclose(before, encoder.encode(Modality.DEPTH, maps))


def test_a_tower_for_maps_without_an_image_tower_is_refused() -> None:
    with pytest.raises(CheckpointError, match="there is no image tower"):
        MiniEncoder.load({"dim": 4, "towers": {"depth": {"kind": "map", "hidden": 4}}}, {})


def test_a_kind_of_tower_that_is_none_is_refused() -> None:
    with pytest.raises(CheckpointError, match="nose"):
        MiniEncoder.load({"dim": 4, "towers": {"audio": {"kind": "nose"}}}, {})


def test_how_warm_a_map_is_reaches_its_features_though_its_contrast_is_evened() -> None:
    torch.manual_seed(0)
    trunk = EfficientNetLite0().eval()
    cool = torch.rand(1, 1, 64, 64) * 0.2
    with torch.inference_mode():
        low, high = map_features(cool, trunk), map_features(cool + 0.5, trunk)
    torch.testing.assert_close(low[:, :1280], high[:, :1280], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(high[:, 1280:] - low[:, 1280:], torch.full((1, 9), 0.5))


def test_a_tower_learns_to_tell_a_low_tone_from_a_high_one() -> None:
    torch.manual_seed(0)
    tower = SoundTower(4, 8, 128)
    time = np.arange(CLIP) / 16_000
    concept = np.arange(12) % 2
    clips = np.stack(
        [picture(np.sin(2 * np.pi * (300 + 2000 * kind + 20 * i) * time)) for i, kind in enumerate(concept)]
    )
    bank = torch.eye(4)[:2]
    config = TowerConfig(steps=30, batch=8, lr=3e-3)
    align_tower(tower, Items(clips, concept), bank, lambda clip, _rng: clip, config, Log())
    assert (tower(torch.from_numpy(clips)) @ bank.T).argmax(dim=1).tolist() == concept.tolist()


def test_scaling_taken_into_the_first_layer_changes_nothing() -> None:
    torch.manual_seed(0)
    tower = MapTower(4, 6).eval()
    rows = rng().normal(3, 2, (5, 1289)).astype(np.float32)
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    with torch.inference_mode():
        wanted = tower.head(torch.from_numpy((rows - mean) / deviation))
        found = scaled_into(tower, mean, deviation).head(torch.from_numpy(rows))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_a_tower_for_maps_is_trained_on_the_pictures_that_show_concepts() -> None:
    square = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><rect width="9" height="6"/></svg>'
    shown = [Picture("own", str(at), (), at - 1, square) for at in range(3)] + [Picture("own", "bad", (), 0, b"<no")]
    near, bank = torch.eye(4), torch.eye(4)[:2]
    config = SensesConfig(variants=2, maps=TowerConfig(steps=2, batch=2))
    tower = train_maps("depth", shown, near, bank, EfficientNetLite0().eval(), config, Log())
    assert tower(torch.rand(1, 1, 64, 64), EfficientNetLite0().eval()).shape == (1, 4)


def test_a_clip_is_pictured_as_the_recipe_pictures_it() -> None:
    wave = (0.3 * np.sin(np.arange(CLIP) / 9) + 0.01 * rng().normal(0, 1, CLIP)).astype(np.float32)
    loaded = load("imagebind-audio-v1", wav(wave), {}, Limits())
    np.testing.assert_allclose(picture(wave), loaded[0], atol=2e-2)


def test_a_short_sound_ends_in_what_the_recipe_pads_with() -> None:
    short = 0.3 * np.sin(np.arange(4000) / 9)
    loaded = load("imagebind-audio-v1", wav(short), {}, Limits())
    assert picture(short)[0, 0, -1] == loaded[0, 0, 0, -1]


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_foley_is_two_seconds_of_something_other_each_time(name: str) -> None:
    one, same, other = MAKERS[name](rng(1)), MAKERS[name](rng(1)), MAKERS[name](rng(2))
    assert len(one) == int(2.2 * 16_000)
    assert np.isfinite(one).all()
    assert np.abs(one).max() > 0.01
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_foley_is_of_concepts_that_there_are() -> None:
    assert set(MAKERS) <= {concept.name for concept in CONCEPTS}


def test_waves_are_varied_within_bounds_and_by_their_seed_alone() -> None:
    wave = np.sin(np.arange(40_000) / 9)
    for seed in range(30):
        found = varied_wave(wave, wave[::-1], rng(seed))
        assert 16_000 // 5 * 0.8 <= len(found) <= CLIP
        assert np.isfinite(found).all()
        assert np.abs(found).max() < 3
        np.testing.assert_array_equal(found, varied_wave(wave, wave[::-1], rng(seed)))


def test_masking_keeps_the_shape_and_loses_a_part() -> None:
    clip = rng().normal(0, 1, (1, 128, 204)).astype(np.float32)
    found = masked(clip, rng(3))
    assert found.shape == clip.shape
    assert found.dtype == np.float32
    assert not np.array_equal(found, clip)


def test_nearer_than_the_ground_and_warmer_than_the_room() -> None:
    parts = layers(disc())
    warm = next(concept for concept in CONCEPTS if concept.heat > 0.8)
    near, hot = RELIEFS["depth"](parts, warm, rng(), 0.0), RELIEFS["thermal"](parts, warm, rng(), 0.0)
    assert near.shape == hot.shape == (1, 224, 224)
    assert np.quantile(near, 0.99) > 0 > np.quantile(near, 0.05)
    assert np.quantile(hot, 0.99) > 0.6
    assert np.quantile(hot, 0.05) < 0.35


def test_turned_maps_differ_and_hold_the_same_thing() -> None:
    parts = layers(disc())
    straight, turned = (
        RELIEFS["depth"](parts, CONCEPTS[0], rng(1), 0.0),
        RELIEFS["depth"](parts, CONCEPTS[0], rng(1), 20.0),
    )
    assert not np.allclose(straight, turned)
    assert np.quantile(turned, 0.99) > 0


def test_a_file_that_is_no_picture_has_no_layers() -> None:
    assert drawn_layers(Picture("own", "bad", (), 0, b"<svg")) is None


def test_recordings_are_found_by_the_names_of_their_files(tmp_path: Path) -> None:
    folder = tmp_path / "widelands-data" / "data" / "sound" / "animals"
    folder.mkdir(parents=True)
    for name in ("bird1_00.ogg", "frog.ogg"):
        (folder / name).write_bytes(b"sound")
    found = real_recordings(tmp_path, CONCEPTS, {"widelands-data": NAMED["widelands-data"]})
    assert [(CONCEPTS[concept].name, data) for _, concept, data in found] == [("bird", b"sound")]


def test_only_permissive_packages_are_trained_on() -> None:
    copyleft = [p.name for p in PACKAGES if p.use == "train" and ("GPL" in p.licence or "SA" in p.licence)]
    assert copyleft == []
