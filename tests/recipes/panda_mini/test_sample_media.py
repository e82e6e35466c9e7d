"""The committed samples: small, licensed, of all modalities, decoded by the recipes; and made by our own code."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pandagpt_core.media import Limits, load
from recipes.panda_mini.concepts import load_concepts
from recipes.panda_mini.data.media import Picture
from recipes.panda_mini.data.samples import questions, write_depth, write_mug, write_running, write_thermal, write_video

MOST_BYTES = 1_000_000
RECIPES = {
    "image": ("lite0-image-v1", (1, 3, 224, 224)),
    "video": ("lite0-video-v1", None),
    "audio": ("imagebind-audio-v1", (3, 1, 128, 204)),
    "depth": ("depth-sunrgbd-v1", (1, 1, 224, 224)),
    "thermal": ("imagebind-thermal-v1", (1, 1, 224, 224)),
    "imu": ("imu-v1", (1, 6, 2000)),
    "text": ("clip-bpe-v1", (1, 77)),
    "points": ("points-8192-v1", None),
}
SQUARE = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><rect x="2" y="2" width="6" height="6"/></svg>'
LION = next(at for at, concept in enumerate(load_concepts()) if concept.name == "lion")
ICON = Picture("own", "lion", ("lion",), LION, SQUARE)


@pytest.fixture(scope="module")
def samples(root: Path) -> Path:
    return root / "samples"


@pytest.fixture(scope="module")
def media(samples: Path) -> list[dict[str, Any]]:
    return [medium for group in json.loads((samples / "asks.json").read_text()) for medium in group]


def test_they_are_small(samples: Path) -> None:
    assert sum(path.stat().st_size for path in samples.iterdir()) < MOST_BYTES


def test_each_has_a_licence(samples: Path) -> None:
    licences = (samples / "LICENSES.md").read_text()
    assert [path.name for path in samples.iterdir() if f"`{path.name}`" not in licences] == ["LICENSES.md"]


def test_each_is_asked_about_and_every_modality_is_among_them(samples: Path, media: list[dict[str, Any]]) -> None:
    assert {medium["modality"] for medium in media} == set(RECIPES)
    unasked = {path.name for path in samples.iterdir()} - {medium["file"] for medium in media}
    trials = {"conversations.json", "train.toml", "manifest.toml", "composition.jsonl", "pope.jsonl"}
    assert unasked == {"LICENSES.md", "asks.json", *trials}


def test_what_is_asked_is_what_the_maker_writes(samples: Path) -> None:
    assert json.loads((samples / "asks.json").read_text()) == questions()


def test_each_is_decoded_with_the_options_it_is_asked_with(samples: Path, media: list[dict[str, Any]]) -> None:
    for medium in media:
        recipe, shape = RECIPES[medium["modality"]]
        array = load(recipe, (samples / medium["file"]).read_bytes(), medium.get("options", {}), Limits())
        assert np.isfinite(array).all()
        assert shape in (None, array.shape), medium["file"]


def test_depth_and_heat_come_back_as_they_were_made(tmp_path: Path) -> None:
    write_depth(ICON, tmp_path / "depth.png")
    write_thermal(ICON, tmp_path / "heat.png")
    depth = load(
        "depth-sunrgbd-v1",
        (tmp_path / "depth.png").read_bytes(),
        {"unit": "mm", "focal_px": 525.0, "baseline_m": 0.04},
        Limits(),
    )
    heat = load("imagebind-thermal-v1", (tmp_path / "heat.png").read_bytes(), {"low": 28315, "high": 31815}, Limits())
    assert depth[0, 0, 112, 112] > 0 > depth[0, 0, 2, 2]  # the thing before its ground
    assert heat[0, 0, 112, 112] > 0.6 > 0.4 > heat[0, 0, 2, 2]  # a lion is warm


def test_a_video_is_three_seconds_of_moving_frames(tmp_path: Path) -> None:
    write_video(ICON, tmp_path / "lion.mp4")
    frames = load("lite0-video-v1", (tmp_path / "lion.mp4").read_bytes(), {}, Limits())
    assert len(frames) > 1
    assert np.abs(frames[0] - frames[-1]).max() > 0.1


def test_running_is_written_the_same_each_time(samples: Path, tmp_path: Path) -> None:
    write_running(tmp_path / "running-imu.csv")
    assert (tmp_path / "running-imu.csv").read_text() == (samples / "running-imu.csv").read_text()


def test_a_mug_is_written_the_same_each_time(samples: Path, tmp_path: Path) -> None:
    write_mug(tmp_path / "mug.ply")
    assert (tmp_path / "mug.ply").read_text() == (samples / "mug.ply").read_text()
