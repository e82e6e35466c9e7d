"""From rows to a reading: sure, unsure, and nothing; made-up concepts in a space of as many directions."""

import math
from dataclasses import replace

import msgspec
import pytest
import torch
from torch import Tensor

from pandagpt_core.errors import CheckpointError
from pandagpt_core.fusion import PrototypeRetrieval
from pandagpt_core.perception.perceive import Perceiver
from pandagpt_core.perception.reading import NamedConcept
from pandagpt_core.perception.rows import (
    CLASS_ROWS,
    LOOKED_AT,
    ROWS,
    THINGS_AT,
    WIDTH,
    Measures,
    ThingRow,
    classes_rows,
    things_row,
)
from pandagpt_core.perception.table import PERCEPTION, Logistic, NameTable, read_name_table, write_name_table
from pandagpt_core.types import Modality
from tests.torch_operations import Operations

CONCEPTS = (
    NamedConcept("cat", ("animal",)),
    NamedConcept("guitar", ("musical instrument",)),
    NamedConcept("owl", ("bird", "animal")),
)
RED = (1.0, *[0.0] * 10)
BY_COSINE = Logistic(-10.0, (20.0, 0.0, 0.0))  # a half at a cosine of 0.5
TABLE = NameTable(
    concepts=CONCEPTS,
    classes=(
        NamedConcept("castle", ("building",)),
        NamedConcept("palace", ("building",)),
        NamedConcept("tabby", ("cat", "animal")),
    ),
    concept_of=(-1, -1, 0),
    things=(NamedConcept("person"), NamedConcept("cat", ("animal",)), NamedConcept("bird", ("animal",))),
    concept={
        Modality.IMAGE: Logistic(-10.0, (20.0, 0.0, 0.0, 0.0, 0.0)),
        Modality.VIDEO: BY_COSINE,
        Modality.AUDIO: BY_COSINE,
    },
    named=Logistic(0.0, (1.0, 0.0)),
    thing=Logistic(-5.0, (10.0, 0.0)),
    shape=BY_COSINE,
    kinds=("animal", "building"),
)
PERCEIVER = Perceiver(TABLE, PrototypeRetrieval(torch.eye(len(CONCEPTS), WIDTH), 20.0))
SEEN = Measures(spread=50.0, neighbours=0.9, slope=50.0, main=RED, ground=RED[::-1])


def picture(
    embedding: Tensor,
    classes: tuple[float, ...] = (0.0, 0.0, 0.0),
    things: tuple[ThingRow, ...] = (),
    looked: tuple[Tensor, ...] = (),
    measures: Measures = SEEN,
) -> Tensor:
    rows = torch.zeros(ROWS[Modality.IMAGE], WIDTH)
    rows[0, : len(embedding)] = embedding
    rows[1] = measures.row()
    rows[CLASS_ROWS] = classes_rows(torch.tensor(classes))
    rows[THINGS_AT] = things_row(list(things))
    for at, one in enumerate(looked):
        rows[LOOKED_AT + at, : len(one)] = one
    return rows


CAT, BETWEEN = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.3, 0.28, 0.0])
NOWHERE = torch.tensor([0.1, 0.05, 0.0, 1.0])  # of a direction that no concept has


def test_an_embedding_at_a_concept_is_sure_and_one_near_none_is_not() -> None:
    sure = PERCEIVER.read(Modality.IMAGE, picture(CAT))
    assert (sure.sure, sure.names[0].name) == (True, "cat")
    assert sure.confidence > 0.9
    unsure = PERCEIVER.read(Modality.IMAGE, picture(NOWHERE))
    assert (unsure.sure, unsure.confidence < 0.5) == (False, True)
    assert len(unsure.names) == 2


def test_the_embedding_alone_is_read_too() -> None:
    assert PERCEIVER.read(Modality.IMAGE, picture(CAT)[:1]).sure
    assert PERCEIVER.read(Modality.AUDIO, picture(CAT)[:1]).names[0].name == "cat"


def test_a_class_that_is_no_concept_is_named_where_it_is_likely() -> None:
    assert PERCEIVER.read(Modality.IMAGE, picture(NOWHERE, (0.9, 0.05, 0.0))).names[0].name == "castle"


def test_what_it_is_may_be_sure_where_its_name_is_not() -> None:
    reading = PERCEIVER.read(Modality.IMAGE, picture(NOWHERE, (0.4, 0.38, 0.0)))
    assert (reading.sure, reading.kind) == (False, "building")
    assert {one.name for one in reading.names} == {"castle"}


def test_a_large_detected_person_is_the_subject_and_counted() -> None:
    people = (ThingRow(0.8, 0, 0.0, 0.0, 0.5, 1.0, RED), ThingRow(0.6, 0, 0.7, 0.0, 1.0, 1.0, RED))
    reading = PERCEIVER.read(Modality.IMAGE, picture(NOWHERE, things=people))
    assert (reading.sure, reading.names[0].name) == (True, "person")
    assert [(one.name, one.place) for one in reading.things] == [("person", "left"), ("person", "right")]


def test_a_detected_person_needs_no_class_of_its_own() -> None:
    groom = replace_classes(TABLE, (NamedConcept("groom", ("person",)), *TABLE.classes[1:]))
    person = (ThingRow(0.8, 0, 0.0, 0.0, 1.0, 1.0, RED),)
    reading = Perceiver(groom, PERCEIVER.recall).read(Modality.IMAGE, picture(NOWHERE, (0.0, 0.1, 0.1), things=person))
    assert (reading.sure, reading.names[0].name) == (True, "person")


def replace_classes(table: NameTable, classes: tuple[NamedConcept, ...]) -> NameTable:
    return msgspec.structs.replace(table, classes=classes)


def test_a_detected_animal_that_the_classes_deny_is_not_named() -> None:
    bird = (ThingRow(0.8, 2, 0.0, 0.0, 1.0, 1.0, RED),)
    assert PERCEIVER.read(Modality.IMAGE, picture(NOWHERE, things=bird)).names[0].name == "bird"
    cat = (ThingRow(0.8, 1, 0.0, 0.0, 1.0, 1.0, RED),)
    denied = PERCEIVER.read(Modality.IMAGE, picture(NOWHERE, (0.2, 0.2, 0.0), things=cat))
    assert not denied.sure
    borne_out = PERCEIVER.read(Modality.IMAGE, picture(NOWHERE, (0.1, 0.1, 0.8), things=cat))
    assert (borne_out.sure, borne_out.names[0].name) == (True, "cat")


def test_a_reading_makes_no_tensor_of_the_table_and_recalls_once() -> None:
    recalled: list[int] = []

    class Counting(PrototypeRetrieval):
        def shares(self, embeddings: Tensor) -> Tensor:
            recalled.append(len(embeddings))
            return PERCEIVER.recall.shares(embeddings)

    perceiver = Perceiver(TABLE, Counting(PERCEIVER.recall.directions, PERCEIVER.recall.sharpness))
    cat = picture(NOWHERE, (0.2, 0.2, 0.0), things=(ThingRow(0.8, 1, 0.0, 0.0, 1.0, 1.0, RED),))
    with Operations() as done:
        perceiver.read(Modality.IMAGE, cat)
    assert len(recalled) == 1
    assert done.counts["lift_fresh"] == 0, "torch.tensor of a list"


def test_shapes_that_were_looked_at_have_names_places_and_sizes() -> None:
    shapes = (ThingRow(1.0, -1, 0.0, 0.3, 0.5, 0.8, RED), ThingRow(1.0, -1, 0.8, 0.4, 1.0, 0.6, RED))
    reading = PERCEIVER.read(Modality.IMAGE, picture(BETWEEN, things=shapes, looked=(CAT, NOWHERE)))
    assert [(one.name, one.place, one.size) for one in reading.things] == [
        ("cat", "left", "large"),
        ("thing", "right", "small"),
    ]


@pytest.mark.parametrize(
    ("modality", "measures", "void"),
    [
        (Modality.AUDIO, Measures(spread=0.0), "silence"),
        (Modality.IMAGE, Measures(spread=0.5), "blank"),
        (Modality.IMAGE, replace(SEEN, neighbours=0.0), "noise"),
        (Modality.IMAGE, replace(SEEN, slope=1.0), "blank"),
    ],
)
def test_silence_blankness_and_noise_are_said_to_be_that(modality: Modality, measures: Measures, void: str) -> None:
    reading = PERCEIVER.read(modality, picture(CAT, measures=measures)[: ROWS[modality]])
    assert reading.void == void
    assert reading.names == ()


def test_a_table_survives_its_file_and_a_broken_one_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    write_name_table(tmp_path, TABLE)
    assert msgspec.to_builtins(read_name_table(tmp_path)) == msgspec.to_builtins(TABLE)
    (tmp_path / PERCEPTION).write_text("{}")
    with pytest.raises(CheckpointError, match=r"perception\.json"):
        read_name_table(tmp_path)


def test_confidences_are_probabilities() -> None:
    for at in torch.linspace(0, 1, 5).tolist():
        mixed = torch.tensor([at, 0.0, 0.0, math.sqrt(1 - at * at)])
        assert 0 <= PERCEIVER.read(Modality.IMAGE, picture(mixed)).confidence <= 1
