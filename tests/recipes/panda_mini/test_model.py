"""The committed default model: its files are the ones it names, and it says what the sample pictures show."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from pandagpt_core.checkpoints import ADAPTER, PandaGPTFolder, read_model_folder, read_tensors, verify_files
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.loading import read_ngrams
from pandagpt_core.media import Limits, load
from pandagpt_core.runtime import Runtime
from pandagpt_core.training.evaluation.answerer import Asked, Held
from pandagpt_core.training.evaluation.local import LocalModel
from pandagpt_core.training.evaluation.measures import first_named
from pandagpt_core.types import Conversation, MediaUse, Modality, SamplingParams, Turn
from recipes.panda_mini.concepts import load_concepts
from recipes.panda_mini.language.qa_templates import NO_PICTURE
from service.gateway.inference.validated import SamplingOverrides
from tests.exact import exact_runtime

MOST_BYTES = 40_000_000
VOCAB = 49_152  # tokens of SmolLM2


@pytest.fixture(scope="module")
def folder(root: Path) -> Path:
    return root / "models" / "panda-mini"


@pytest.fixture(scope="module")
def config(folder: Path) -> PandaGPTFolder:
    return read_model_folder(folder)


@pytest.fixture(scope="module")
def runtime(folder: Path) -> Runtime:
    return exact_runtime(folder, max_model_len=128)


@pytest.fixture(scope="module")
def model(runtime: Runtime) -> LocalModel:
    return LocalModel(runtime)


def of_samples(root: Path, model: LocalModel, names: Sequence[str], question: str) -> list[str]:
    """Answers about each sample picture."""
    shown = [Held(Modality.IMAGE, (root / "samples" / f"{name}.png").read_bytes()) for name in names]
    return model.answer([Asked(question, (one,)) for one in shown], 24)


def test_every_file_is_the_one_that_the_config_names(folder: Path, config: PandaGPTFolder) -> None:
    verify_files(folder, config)


def test_the_folder_is_small_enough_for_a_repository(folder: Path) -> None:
    assert sum(path.stat().st_size for path in folder.rglob("*")) < MOST_BYTES


def test_sample_pictures_are_named(root: Path, model: LocalModel) -> None:
    names = ["dog", "panda", "guitar", "banana"]
    said = of_samples(root, model, names, "What is this?")
    assert [name in answer for name, answer in zip(names, said, strict=True)] == [True] * 4, said


def test_a_video_of_one_picture_is_seen_as_the_picture(root: Path, runtime: Runtime) -> None:
    data = (root / "samples" / "dog.png").read_bytes()
    [still] = runtime.encode(Modality.IMAGE, [load("lite0-detail-v1", data, {}, Limits())])
    frames = np.concatenate([load("lite0-image-v1", data, {}, Limits())] * 3)
    [moving] = runtime.encode(Modality.VIDEO, [frames])
    np.testing.assert_allclose(moving[0], still[0], atol=1e-5)


@pytest.fixture(scope="module")
def stories(folder: Path) -> list[list[int]]:
    """Two longer answers, by the model's own parameters."""
    runtime = exact_runtime(folder, max_sequences=2, max_model_len=160)
    params = SamplingOverrides(max_tokens=100).over(runtime.info, 100)
    tokens: dict[str, list[int]] = {"Tell me a story.": [], "Write a poem about the sea.": []}
    for prompt in tokens:
        runtime.admit(SequenceRequest(prompt, Conversation((Turn("user", prompt),)), [], params))
    while runtime.has_work:
        for output in runtime.step():
            tokens[output.sequence_id].append(output.token_id)
    return list(tokens.values())


def test_its_defaults_keep_stories_from_going_round_in_loops(stories: list[list[int]]) -> None:
    assert all(len(each) > 20 and most_repeats(each) < 3 for each in stories)


def test_its_table_guesses_many_of_its_words_and_knows_how_often(folder: Path, stories: list[list[int]]) -> None:
    table = read_ngrams(folder, VOCAB)
    assert table is not None
    guesses = [(next(table.guesses(each[:at]), None), each[at]) for each in stories for at in range(1, len(each))]
    made = [(guess.token == token, guess.rate) for guess, token in guesses if guess is not None]
    right, stated = (sum(column) / len(made) for column in zip(*made, strict=True))
    assert len(made) > 0.9 * len(guesses)
    assert right > 0.2
    assert abs(right - stated) < 0.15


def most_repeats(tokens: Sequence[int], size: int = 4) -> int:
    """Number of times that the most frequent run of so many tokens comes."""
    return max(Counter(tuple(tokens[at : at + size]) for at in range(len(tokens) - size + 1)).values())


def test_a_name_lies_nearer_to_its_picture_than_other_names(root: Path, runtime: Runtime) -> None:
    names = ["dog", "panda", "guitar", "banana"]
    texts = [load(runtime.info.recipes[Modality.TEXT], name.encode(), {}, Limits()) for name in names]
    pictures = [
        load(runtime.info.recipes[Modality.IMAGE], (root / "samples" / f"{name}.png").read_bytes(), {}, Limits())
        for name in names
    ]
    seen = np.stack([rows[0] for rows in runtime.encode(Modality.IMAGE, pictures)])
    read = np.stack([rows[0] for rows in runtime.encode(Modality.TEXT, texts)])
    assert (seen @ read.T).argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_without_a_picture_it_talks_of_none(runtime: Runtime) -> None:
    asked = Conversation((Turn("user", "What is the capital of France?"),))
    runtime.admit(SequenceRequest("a", asked, [], SamplingParams(max_tokens=16, temperature=0.0)))
    text = ""
    while runtime.has_work:
        text += "".join(output.text for output in runtime.step())
    assert "Paris" in text
    assert "picture" not in text.lower()


def test_asked_after_a_picture_that_is_not_there_it_names_nothing(model: LocalModel) -> None:
    said = model.answer([Asked("What is in the picture?"), Asked("What is this?")], 24)
    assert said == [NO_PICTURE, NO_PICTURE]


def test_it_names_each_direction_that_it_recalls(folder: Path, runtime: Runtime) -> None:
    concepts = load_concepts()
    directions = dict(read_tensors(folder / ADAPTER, dtype=torch.float32))["projection.recall"]
    chosen = range(0, len(concepts), 17)
    params = SamplingParams(max_tokens=24, temperature=0.0)
    said = {str(index): "" for index in chosen}
    for index in chosen:
        asked = Conversation((Turn("user", "What is this?"),), (MediaUse(Modality.IMAGE, f"{index:064x}", 0),))
        runtime.admit(SequenceRequest(str(index), asked, [directions[index, None].numpy()], params))
    while runtime.has_work:
        for output in runtime.step():
            said[output.sequence_id] += output.text
    names = [concept.name for concept in concepts]
    assert [first_named(one, names) for one in said.values()] == [names[index] for index in chosen]


def test_yes_and_no_are_told_of_kinds(root: Path, model: LocalModel) -> None:
    said = of_samples(root, model, ("dog", "guitar"), "Is it an animal?")
    assert [one.split(",")[0] for one in said] == ["Yes", "No"], said


def test_drawings_hold_what_is_asked_for_and_nobody_where_nobody_is(root: Path, model: LocalModel) -> None:
    names = ("dog", "panda", "guitar", "banana", "tree")
    empty = [name for name in names if name != "panda"]  # in whose drawing the stored weights see a person, if barely
    nobody = of_samples(root, model, empty, "Is there a person in the picture?")
    assert [one.split(",")[0] for one in nobody] == ["No"] * len(empty), nobody
    own = [of_samples(root, model, (name,), f"Do you see a {name}?")[0] for name in names]
    assert [one.split(",")[0] for one in own] == ["Yes"] * len(names), own
