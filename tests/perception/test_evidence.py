"""The evidence for a name that is asked for: which sources know it, and what they make of it together."""

import math

import msgspec
import pytest
import torch

from pandagpt_core.fusion import PrototypeRetrieval
from pandagpt_core.perception.evidence import EvidenceReader
from pandagpt_core.perception.perceive import Perceiver
from pandagpt_core.perception.reading import NamedConcept
from pandagpt_core.perception.rows import (
    CLASS_ROWS,
    LOOKED_AT,
    ROWS,
    SCORES_AT,
    THINGS_AT,
    WIDTH,
    ThingRow,
    classes_rows,
    scores_row,
    things_row,
)
from pandagpt_core.perception.table import EvidenceTable, Logistic, NameTable
from pandagpt_core.types import Modality

NOTHING = Logistic(0.0, (0.0, 0.0))
NAMES = NameTable(
    concepts=(
        NamedConcept("cat", ("animal",)),
        NamedConcept("tulip", ("flower", "plant")),
        NamedConcept("rain"),
        NamedConcept("rose", ("flower", "plant")),
    ),
    classes=(
        NamedConcept("tabby", ("cat", "animal")),
        NamedConcept("daisy", ("flower", "plant")),
        NamedConcept("lakeshore", ("landscape",)),
        NamedConcept("yurt", ("building",)),
    ),
    concept_of=(0, -1, -1, -1),
    things=(NamedConcept("person"), NamedConcept("cat", ("animal",)), NamedConcept("cup")),
    concept={},
    named=NOTHING,
    thing=NOTHING,
    shape=NOTHING,
    kinds=(),
)
TABLE = EvidenceTable(
    words={"people": "person"},
    covers={"mug": ("cup",)},
    beside={"tree": ("lakeshore", "yurt")},
    usual=(0.1, 0.2, 0.3, 0.1),
    regressions={
        Modality.IMAGE: {"concept+class": Logistic(-1.0, (1.0, 0.0, 0.0, 2.0))},
        Modality.AUDIO: {"concept": Logistic(-5.0, (10.0, 0.0))},
    },
)
READER = EvidenceReader(Perceiver(NAMES, PrototypeRetrieval(torch.eye(len(NAMES.concepts), WIDTH), 20.0)), TABLE)


def picture(
    classes: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0),
    scores: tuple[float, ...] = (0.0, 0.0, 0.0),
    embedding: tuple[float, ...] = (0.0, 0.0, 0.0, 1.0),
) -> torch.Tensor:
    rows = torch.zeros(ROWS[Modality.IMAGE], WIDTH)
    rows[0, : len(embedding)] = torch.tensor(embedding)
    rows[CLASS_ROWS] = classes_rows(torch.tensor(classes))
    rows[SCORES_AT] = scores_row(torch.tensor(scores))
    return rows


def test_each_source_that_knows_a_name_gives_one_number() -> None:
    rows = picture((0.5, 0.2, 0.1, 0.0), (0.2, 0.3, 0.0), (0.6, 0.8, 0.0, 0.0))
    found = READER.features(rows, "cat")
    assert list(found) == ["concept", "class", "detector"]
    assert found["concept"] == pytest.approx((0.6, 0.6 - 0.8))
    assert found["class"] == pytest.approx((0.0, math.log(0.5 / 0.1)), abs=1e-2)
    assert found["detector"] == pytest.approx((math.log(0.3 / 0.7),))
    assert list(READER.features(rows, "person")) == ["detector"]
    assert list(READER.features(rows, "daisy")) == ["class"]


def test_a_wider_name_adds_up_its_classes_and_takes_its_nearest_concept() -> None:
    found = READER.features(
        picture((0.1, 0.6, 0.0, 0.0), embedding=(0.0, 0.6, 0.0, 0.8)), "flower"
    )  # a rose before a tulip
    assert found["concept"] == pytest.approx((0.8, 0.8 - 0.0))
    assert found["class"] == pytest.approx((math.log(0.6 / 0.4), math.log(0.6 / 0.2)), abs=1e-2)


def test_a_name_without_a_class_has_the_classes_that_it_stands_beside() -> None:
    found = READER.features(picture((0.0, 0.0, 0.7, 0.1)), "tree")
    assert list(found) == ["class"]
    assert found["class"] == pytest.approx((math.log(0.8 / 0.2), math.log(0.8 / 0.4)), abs=1e-2)


def test_a_name_that_covers_another_has_its_sources() -> None:
    assert list(READER.features(picture(scores=(0.0, 0.0, 0.4)), "mug")) == ["detector"]


def test_where_the_detector_did_not_run_it_is_no_source() -> None:
    assert list(READER.features(picture((0.5, 0.0, 0.0, 0.0)), "cat")) == ["concept", "class"]


def test_of_shapes_on_a_plain_ground_the_nearest_counts_alone() -> None:
    rows = picture((0.9, 0.0, 0.0, 0.0))
    rows[THINGS_AT] = things_row([ThingRow(1.0, -1, at, 0.0, at + 0.2, 0.2, ()) for at in (0.0, 0.5)])
    rows[LOOKED_AT, 3], rows[LOOKED_AT + 1, 0] = 1.0, 1.0
    assert READER.features(rows, "cat") == {"shape": pytest.approx((1.0, 1.0))}
    assert READER.features(rows, "tree") == READER.features(rows, "person") == {}  # no concepts
    assert READER.features(rows, "rain") == {"shape": pytest.approx((0.0, -1.0))}


def test_a_single_large_thing_on_a_plain_ground_is_the_picture() -> None:
    rows = picture((0.9, 0.0, 0.0, 0.0), embedding=(0.8, 0.6, 0.0, 0.0))
    rows[THINGS_AT] = things_row([ThingRow(1.0, -1, 0.0, 0.0, 0.9, 0.9, ())])
    assert READER.features(rows, "cat") == {"shape": pytest.approx((0.8, 0.2))}


def test_the_regression_of_the_very_sources_makes_the_probability() -> None:
    rows = picture((0.5, 0.0, 0.0, 0.0), embedding=(1.0, 0.0, 0.0, 0.0))
    expected = 1 / (1 + math.exp(-(-1.0 + 1.0 + 2 * math.log(0.5 / 0.1))))
    assert READER.probability(Modality.IMAGE, rows, "cat") == pytest.approx(expected, abs=1e-3)


def test_a_name_that_no_source_knows_has_no_evidence() -> None:
    assert READER.probability(Modality.IMAGE, picture(), "zeppelin") == 0.0
    assert READER.probability(Modality.DEPTH, picture()[:2], "cat") == 0.0


def test_a_sound_is_asked_by_its_embedding() -> None:
    rows = picture(embedding=(0.0, 0.0, 1.0, 0.0))[:2]
    [(name, share)] = READER.found(Modality.AUDIO, rows, READER.asked("Do you hear rain?"))
    assert (name, share) == ("rain", pytest.approx(1 / (1 + math.exp(-5.0))))
    assert READER.found(Modality.AUDIO, rows, READER.asked("Do you see rain?")) == ()


def test_other_words_and_other_languages_ask_for_the_same_name() -> None:
    for question in ("Are there people?", "Is there a person?", "Gibt es eine Person auf dem Bild?"):
        assert READER.asked(question).names == ("person",), question


def test_a_table_without_the_part_is_read_as_before() -> None:
    table = msgspec.json.decode(msgspec.json.encode(NAMES), type=NameTable)
    assert table.asked is None
    whole = msgspec.structs.replace(NAMES, asked=TABLE)
    assert msgspec.json.decode(msgspec.json.encode(whole), type=NameTable).asked == TABLE
