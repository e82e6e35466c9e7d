"""The committed default model: its files are the ones it names, and it says what the sample pictures show."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pandagpt_core.checkpoints import ADAPTER, ModelFolder, read_model_folder, read_tensors, verify_files
from pandagpt_core.media import Limits, load
from pandagpt_core.runtime import Runtime
from pandagpt_core.training.concepts import load_concepts
from pandagpt_core.training.evaluate import answers
from pandagpt_core.training.quiz import answer
from pandagpt_core.training.talk import NO_PICTURE, first_named
from pandagpt_core.types import Conversation, Modality, SamplingParams, Turn

MOST_BYTES = 40_000_000


@pytest.fixture(scope="module")
def folder(root: Path) -> Path:
    return root / "models" / "panda-mini"


@pytest.fixture(scope="module")
def config(folder: Path) -> ModelFolder:
    return read_model_folder(folder)


@pytest.fixture(scope="module")
def runtime(folder: Path) -> Runtime:
    return Runtime.load(folder, max_sequences=8, max_model_len=128)


def test_every_file_is_the_one_that_the_config_names(folder: Path, config: ModelFolder) -> None:
    verify_files(folder, config)


def test_the_folder_is_small_enough_for_a_repository(folder: Path) -> None:
    assert sum(path.stat().st_size for path in folder.rglob("*")) < MOST_BYTES


def test_sample_pictures_are_named(root: Path, runtime: Runtime) -> None:
    names = ["dog", "panda", "guitar", "banana"]
    recipe = runtime.info.recipes[Modality.IMAGE]
    arrays = [load(recipe, (root / "samples" / f"{name}.png").read_bytes(), {}, Limits()) for name in names]
    said = answers(runtime, Modality.IMAGE, runtime.encode(Modality.IMAGE, arrays))
    assert [name in answer for name, answer in zip(names, said, strict=True)] == [True] * 4, said


def test_a_video_of_one_picture_is_seen_as_the_picture(root: Path, runtime: Runtime) -> None:
    picture = load("lite0-image-v1", (root / "samples" / "dog.png").read_bytes(), {}, Limits())
    [still] = runtime.encode(Modality.IMAGE, [picture])
    [moving] = runtime.encode(Modality.VIDEO, [np.concatenate([picture] * 3)])
    np.testing.assert_allclose(moving, still, atol=1e-5)


def test_a_name_lies_nearer_to_its_picture_than_other_names(root: Path, runtime: Runtime) -> None:
    names = ["dog", "panda", "guitar", "banana"]
    texts = [load(runtime.info.recipes[Modality.TEXT], name.encode(), {}, Limits()) for name in names]
    pictures = [
        load(runtime.info.recipes[Modality.IMAGE], (root / "samples" / f"{name}.png").read_bytes(), {}, Limits())
        for name in names
    ]
    seen, read = np.stack(runtime.encode(Modality.IMAGE, pictures)), np.stack(runtime.encode(Modality.TEXT, texts))
    assert (seen @ read.T).argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_without_a_picture_it_talks_of_none(runtime: Runtime) -> None:
    asked = Conversation((Turn("user", "What is the capital of France?"),))
    runtime.admit("a", asked, [], SamplingParams(max_tokens=16, temperature=0.0))
    text = ""
    while runtime.has_work:
        text += "".join(output.text for output in runtime.step())
    assert "Paris" in text
    assert "picture" not in text.lower()


def test_asked_after_a_picture_that_is_not_there_it_names_nothing(runtime: Runtime) -> None:
    said = answer(runtime, ["What is in the picture?", "What is this?"])
    assert said == [NO_PICTURE, NO_PICTURE]


def test_it_names_each_direction_that_it_recalls(folder: Path, runtime: Runtime) -> None:
    concepts = load_concepts()
    directions = dict(read_tensors(folder / ADAPTER, dtype=torch.float32))["projection.recall"]
    chosen = range(0, len(concepts), 17)
    said = answers(runtime, Modality.IMAGE, [directions[index].numpy() for index in chosen])
    names = [concept.name for concept in concepts]
    assert [first_named(one, names) for one in said] == [names[index] for index in chosen]


def test_yes_and_no_are_told_of_kinds(root: Path, runtime: Runtime) -> None:
    recipe = runtime.info.recipes[Modality.IMAGE]
    arrays = [load(recipe, (root / "samples" / name).read_bytes(), {}, Limits()) for name in ("dog.png", "guitar.png")]
    said = answers(runtime, Modality.IMAGE, runtime.encode(Modality.IMAGE, arrays), "Is it an animal?")
    assert [one.split(",")[0] for one in said] == ["Yes", "No"], said


def test_the_card_tells_every_figure(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    figures = json.loads((folder / "figures.json").read_text())
    for name, one in figures.items():
        if isinstance(one, dict) and "exact" in one:
            low, high = (f"{100 * bound:.0f}" for bound in one["exact_95"])
            assert f"| {one['n']} | {100 * one['exact']:.0f} % ({low} to {high}) |" in card, name
