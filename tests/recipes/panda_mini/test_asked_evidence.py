"""The evidence for asked names is fitted on labelled pictures that no question is about, and errs on the side of no."""

import tomllib
from pathlib import Path

import pytest
import torch

from pandagpt_core.fusion import PrototypeRetrieval
from pandagpt_core.perception.evidence import EvidenceReader, NameIndex
from pandagpt_core.perception.perceive import Perceiver
from pandagpt_core.perception.reading import NamedConcept
from pandagpt_core.perception.rows import CLASS_ROWS, ROWS, WIDTH, classes_rows
from pandagpt_core.perception.table import Logistic, NameTable, read_name_table
from pandagpt_core.types import Modality
from recipes.panda_mini.asked_words import BESIDE, COVERS, WORDS
from recipes.panda_mini.calibration.evidence import (
    AskedSample,
    asked_of_pictures,
    balanced,
    cautious,
    evidence_table,
    present,
)
from recipes.panda_mini.calibration.fit import logistic
from recipes.panda_mini.calibration.samples import PHOTOS, CalibrationSample
from recipes.panda_mini.questions.table import load_questions
from tests.conftest import ROOT

NAMES = NameTable(
    concepts=(NamedConcept("dog", ("animal",)), NamedConcept("cat", ("animal",)), NamedConcept("bell")),
    classes=(NamedConcept("pug", ("dog", "animal")), NamedConcept("tabby", ("cat", "animal"))),
    concept_of=(0, 1),
    things=(),
    concept={},
    named=Logistic(0.0, (0.0, 0.0)),
    thing=Logistic(0.0, (0.0, 0.0)),
    shape=Logistic(0.0, (0.0, 0.0, 0.0)),
    kinds=(),
)
RECALL = PrototypeRetrieval(torch.eye(len(NAMES.concepts), WIDTH), 20.0)


@pytest.fixture(scope="module")
def committed() -> NameTable:
    return read_name_table(ROOT / "models" / "panda-mini")


def test_every_labelled_name_has_a_source(committed: NameTable) -> None:
    assert committed.asked is not None
    index = NameIndex.of(committed, committed.asked)
    labelled = {name for there, _ in present().values() for name in there}
    members = {name: index.members(name) for name in labelled}
    assert [name for name, of in members.items() if not (of.concepts or of.classes or of.things)] == []


def test_the_committed_words_are_those_of_the_recipe_and_their_classes_exist(committed: NameTable) -> None:
    assert committed.asked is not None
    assert (committed.asked.words, committed.asked.covers, committed.asked.beside) == (WORDS, COVERS, BESIDE)
    classes = {one.name for one in committed.classes}
    assert {name for names in BESIDE.values() for name in names} - classes == set()


def test_no_question_is_about_a_labelled_picture() -> None:
    asked = {Path(name).name for question in load_questions() for name in question.media}
    assert asked.isdisjoint(present())


def test_photographs_of_the_names_calibration_are_labelled_or_doubles() -> None:
    doubles = {"graf3.png", "left.jpg", "aloeGT.png"}
    assert set(tomllib.loads(PHOTOS.read_text())) - set(present()) == doubles


def picture(dog: float, cat: float) -> torch.Tensor:
    rows = torch.zeros(ROWS[Modality.IMAGE], WIDTH)
    rows[0, 5] = 1.0
    rows[CLASS_ROWS] = classes_rows(torch.tensor([dog, cat, *[0.0] * 998]))
    return rows


@pytest.fixture
def pictures() -> dict[str, torch.Tensor]:
    """The labelled files, with made-up rows: the classes show what the labels say."""
    found = {}
    for at, (file, (there, _)) in enumerate(present().items()):
        faint = 0.01 * (at % 3)
        found[file] = picture(0.3 if "dog" in there else faint, 0.3 if "cat" in there else faint)
    return found


def test_the_regression_finds_what_is_there_and_not_what_is_of_its_kind(pictures: dict[str, torch.Tensor]) -> None:
    others = [CalibrationSample(Modality.IMAGE, ("dog",), 1.0, picture(0.3, 0.0))] * 2
    table = evidence_table(NAMES, RECALL, pictures, others)
    reader = EvidenceReader(Perceiver(NAMES, RECALL), table)
    assert reader.probability(Modality.IMAGE, picture(0.3, 0.0), "dog") > 0.5
    assert reader.probability(Modality.IMAGE, picture(0.3, 0.0), "cat") < 0.5
    assert reader.probability(Modality.VIDEO, picture(0.0, 0.3)[:6], "cat") > 0.5


def test_a_picture_is_asked_about_its_own_the_others_and_what_is_near(pictures: dict[str, torch.Tensor]) -> None:
    reader = EvidenceReader(Perceiver(NAMES, RECALL), evidence_table(NAMES, RECALL, pictures, []))
    file = "chicky_512.png"
    asked = {one.name: one for one in asked_of_pictures(reader, {file: pictures[file]})}
    assert (asked["dog"].there, asked["cat"].there, asked["cat"].near) == (True, False, True)
    _, maybe = present()[file]
    assert maybe
    assert maybe.isdisjoint(asked)


def test_yes_counts_as_much_as_no_and_near_as_much_as_far() -> None:
    asked = [AskedSample("dog", True, False, {})] * 3 + [AskedSample("cat", False, True, {})]
    asked += [AskedSample("bell", False, False, {})] * 6
    weights = balanced(asked)
    sums = [sum(weights[part]) for part in (slice(0, 3), slice(3, 4), slice(4, 10))]
    assert sums == pytest.approx([5.0, 2.5, 2.5])


def test_few_of_what_is_not_there_reach_a_half() -> None:
    rows = [([float(x)], x > 30, 1.0) for x in range(0, 60, 2)] + [([float(x)], False, 1.0) for x in range(20, 60, 4)]
    fitted = logistic(rows)
    assert fitted is not None
    absent = [numbers[0] for numbers, there, _ in rows if not there]

    def false(one: Logistic) -> float:
        return sum(one.bias + one.weights[0] * x > 1e-4 for x in absent) / len(absent)

    assert false(fitted) > 0.05 >= false(cautious(fitted, rows))
