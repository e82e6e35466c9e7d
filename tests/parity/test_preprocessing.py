"""Every recipe with a published loader gives what that loader gave, within the vectors' own tolerances."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file

from pandagpt_core import media
from tests import golden

PICTURES, THERMAL = golden.cases("preprocessing", "images"), golden.cases("preprocessing", "thermal")
SOUNDS, VIDEOS = golden.cases("preprocessing", "audio"), golden.cases("preprocessing", "video")

Array = npt.NDArray[np.generic]


@pytest.fixture(scope="module")
def folder(golden: Path) -> Path:  # the fixture
    return golden / "preprocessing"


@pytest.fixture(scope="module")
def vectors(folder: Path) -> dict[str, Array]:
    return load_file(folder / "cases.safetensors")


@pytest.fixture(scope="module")
def cases(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "cases.json").read_text())


def load(folder: Path, recipe: str, name: str) -> Array:
    return media.load(recipe, golden.medium(folder / "media" / name), {}, media.Limits())


def differences(got: Array, vectors: dict[str, Array], case: str) -> Array:
    return np.abs(got.ravel()[vectors[f"{case}/idx"]] - vectors[f"{case}/val"])


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_agree_with_the_published_loader(
    folder: Path, vectors: dict[str, Array], cases: dict[str, Any], name: str
) -> None:
    got = load(folder, "imagebind-image-v1", name)
    assert got.shape == (1, 3, 224, 224)
    assert differences(got, vectors, f"vision/{name}").max() <= 1e-6
    assert got.mean() == pytest.approx(cases["images"][name]["mean"], abs=1e-5)


@pytest.mark.parametrize("name", THERMAL)
def test_thermal_pictures_agree_with_the_published_loader(
    folder: Path, vectors: dict[str, Array], cases: dict[str, Any], name: str
) -> None:
    got = load(folder, "imagebind-thermal-v1", name)
    assert got.shape == (1, 1, 224, 224)
    assert differences(got, vectors, f"thermal/{name}").max() <= 1e-6
    assert got.mean() == pytest.approx(cases["thermal"][name]["mean"], abs=1e-5)


@pytest.mark.parametrize("name", SOUNDS)
def test_sounds_agree_with_the_published_loader(
    folder: Path, vectors: dict[str, Array], cases: dict[str, Any], name: str
) -> None:
    got = load(folder, "imagebind-audio-v1", name)
    assert got.shape == (3, 1, 128, 204)
    wrong = differences(got, vectors, f"audio/{name}")
    assert wrong.mean() <= 1e-4
    assert wrong.max() <= 0.05
    assert got.mean() == pytest.approx(cases["audio"][name]["mean"], abs=1e-4)


@pytest.mark.parametrize("name", VIDEOS)
def test_videos_agree_with_the_published_loader(
    folder: Path, vectors: dict[str, Array], cases: dict[str, Any], name: str
) -> None:
    got = load(folder, "imagebind-video-v1", name)
    assert got.shape == (15, 3, 2, 224, 224)
    assert differences(got, vectors, f"video/{name}").max() <= 1e-5
    assert got.mean() == pytest.approx(cases["video"][name]["mean"], abs=1e-5)


def test_texts_agree_with_the_current_published_tokenizer(folder: Path) -> None:
    for case in json.loads((folder / "text_tokens.json").read_text()):
        data = case["text"].encode()
        got = media.load("clip-bpe-v1", data or b" ", {}, media.Limits())  # nothing at all is refused, a blank is not
        assert got.tolist() == [case["facebookresearch"]], case["text"]
