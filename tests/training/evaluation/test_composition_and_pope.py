"""Composition and POPE on made sets whose right figure is known by hand."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.training.evaluation.answerer import Asked, Held
from pandagpt_core.training.evaluation.benchmarks import BENCHMARKS, BenchmarkOutcome, Files, run_benchmark
from pandagpt_core.training.evaluation.benchmarks.base import benchmark_table, write_outcome
from pandagpt_core.training.evaluation.benchmarks.pope import is_yes
from pandagpt_core.types import Modality


class Scripted:
    """Answers by a function of what is asked."""

    name = "scripted"
    modalities = frozenset(Modality)

    def __init__(self, answer: Callable[[Asked], str]) -> None:
        self._answer = answer

    def answer(self, asked: Sequence[Asked], tokens: int) -> list[str]:
        return [self._answer(one) for one in asked]

    def embed(self, media: Sequence[Held]) -> np.ndarray:
        raise NotImplementedError


def run(task: str, folder: Path, lines: Sequence[Any], answer: Callable[[Asked], str]) -> BenchmarkOutcome:
    for name in ("dog.png", "cat.png", "dog.flac", "trumpet.flac", "maps.png"):
        (folder / name).write_bytes(name.encode())
    (folder / "set.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run_benchmark(BENCHMARKS[task], Scripted(answer), Files(folder / "set.jsonl", folder))


def shares(outcome: BenchmarkOutcome) -> dict[str, tuple[int, int]]:
    return {name: (one["hits"], one["n"]) for name, one in outcome.to_json()["figures"].items() if "hits" in one}


def pair(image: str, sound: str, *names: str) -> dict[str, Any]:
    media = [{"modality": "image", "file": image}, {"modality": "audio", "file": sound}]
    return {"media": media, "names": [[name] for name in names]}


PAIRS = [pair("dog.png", "dog.flac", "dog", "dog"), pair("cat.png", "trumpet.flac", "cat", "trumpet")]


def well(asked: Asked) -> str:
    """Answers of a model that knows each medium by its file, and keeps them apart."""
    names = [held.name.partition(".")[0] for held in asked.media]
    if "same thing" in asked.question:
        return "Yes." if len(set(names)) == 1 else "No, they are not."
    if "hear" in asked.question:
        return f"I hear a {names[1]}."
    return f"A {names[0]}." if "see" in asked.question else f"A {names[0]} and a {names[1]}."


def test_a_model_that_keeps_media_apart_has_every_figure_of_composition(tmp_path: Path) -> None:
    found = shares(run("composition", tmp_path, PAIRS, well))
    assert found == {
        "each named, alike, pairs": (1, 1),
        "each named, unlike, pairs": (1, 1),
        "the image named as asked, alike": (1, 1),
        "the image named as asked, unlike": (1, 1),
        "the audio named as asked, alike": (1, 1),
        "the audio named as asked, unlike": (1, 1),
        "same thing: yes": (1, 1),
        "contradiction noticed: no": (1, 1),
    }


def test_a_model_that_sees_but_does_not_hear_fails_where_the_media_differ(tmp_path: Path) -> None:
    found = shares(
        run("composition", tmp_path, PAIRS, lambda asked: f"Yes, a {asked.media[0].name.partition('.')[0]}.")
    )
    assert found["the audio named as asked, alike"] == (1, 1)
    assert found["the audio named as asked, unlike"] == (0, 1)
    assert found["each named, unlike, pairs"] == (0, 1)
    assert found["contradiction noticed: no"] == (0, 1)


def test_triples_and_the_parameters_of_a_medium_are_read(tmp_path: Path) -> None:
    line = pair("dog.png", "dog.flac", "dog", "dog")
    line["media"].append({"modality": "depth", "file": "maps.png", "params": {"unit": "mm"}})
    line["names"].append(["dog"])
    outcome = run("composition", tmp_path, [line], lambda asked: repr(asked.media[2].params))
    assert outcome.answers[0][1] == "(('unit', 'mm'),)"
    assert shares(outcome)["each named, alike, triples"] == (0, 1)


@pytest.mark.parametrize(
    "line", [[], {"media": []}, pair("dog.png", "dog.flac", "dog"), pair("../dog.png", "dog.flac", "dog", "dog")]
)
def test_a_line_that_is_no_set_of_media_is_named(tmp_path: Path, line: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"set\.jsonl: entry 1"):
        run("composition", tmp_path, [line], well)


POPE = [
    {"image": "dog.png", "text": f"Is there a {thing} in the image?", "label": label}
    for thing, label in (("dog", "yes"), ("ball", "yes"), ("cat", "no"), ("car", "no"))
]


def test_pope_has_the_five_figures_of_its_authors(tmp_path: Path) -> None:
    """One thing of two found, and one of two made up: two of four answers are right, two say yes."""
    words = {"dog": "Yes, a dog.", "ball": "No.", "cat": "There is a cat.", "car": "There is not a car."}
    outcome = run("pope", tmp_path, POPE, lambda asked: next(v for k, v in words.items() if k in asked.question))
    assert shares(outcome) == {"accuracy": (2, 4), "precision": (1, 2), "recall": (1, 2), "yes": (2, 4)}
    figure = outcome.to_json()["figures"]["F1"]
    assert figure["value"] == 0.5
    low, high = figure["interval_95"]
    assert 0 <= low <= 0.5 <= high <= 1
    table = benchmark_table(outcome)
    assert "| F1 | 4 | 0.500 |" in table
    assert "| accuracy | 4 | 50.0 % |" in table


def test_pope_leaves_out_a_precision_that_nothing_was_said_for(tmp_path: Path) -> None:
    outcome = run("pope", tmp_path, POPE, lambda _: "No.")
    assert shares(outcome) == {"accuracy": (2, 4), "recall": (0, 2), "yes": (0, 4)}
    assert outcome.to_json()["figures"]["F1"]["value"] == 0


@pytest.mark.parametrize(
    ("answer", "yes"),
    [
        ("Yes.", True),
        ("no, it is a cat", False),
        ("It is not. Yes.", False),
        ("A dog. No more.", True),
    ],
)
def test_an_answer_is_read_by_the_published_rule(answer: str, yes: bool) -> None:
    assert is_yes(answer) is yes


def test_every_answer_is_written_with_its_media(tmp_path: Path) -> None:
    write_outcome(run("composition", tmp_path, PAIRS, well), tmp_path / "out")
    first = json.loads((tmp_path / "out" / "answers.jsonl").read_text().splitlines()[0])
    assert [medium["file"] for medium in first["media"]] == ["dog.png", "dog.flac"]
    assert first["truth"]["kind"] == "every"


def test_the_sets_of_the_samples_are_read(root: Path) -> None:
    for task, least in (("pope", 30), ("composition", 40)):
        questions = BENCHMARKS[task].read(Files(root / "samples" / f"{task}.jsonl", root / "samples"))
        assert len(questions) >= least
        assert all((root / "samples" / medium.file).is_file() for one in questions for medium in one.media)
