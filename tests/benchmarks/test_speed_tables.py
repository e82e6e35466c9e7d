"""Tables of speed: weights of one width are compared with one another."""

import pytest

from benchmarks.contestants.field import ENGINES, SERVERS
from benchmarks.lib.bits import bits
from benchmarks.lib.rounds import RoundsOutcome
from benchmarks.lib.speed_tables import COLUMNS, rows, stated
from benchmarks.lib.stats import Case, Run

CASE = Case(32, 4, 1)
WIDER = Case(32, 4, 2)


def run(seconds: float) -> Run:
    return Run(((seconds / 2, seconds),), (2,))


def shares(outcome: RoundsOutcome) -> dict[tuple[object, object], object]:
    through = dict.fromkeys((who for who, _ in outcome.runs), "pipe")
    return {(row["who"], row["width"]): row["share"] for row in rows(outcome, through)}


def test_every_contestant_but_the_one_that_chooses_has_a_known_width() -> None:
    unknown = {entry.name for entry in (*ENGINES, *SERVERS) if bits(entry.name, {}) is None}
    assert unknown == {"ours-as-served:auto"}
    assert bits("ours-as-served:auto", {"precision": "int8"}) == 8
    assert bits("onnxruntime-genai:int4", {"version": "1"}) == 4


def test_a_share_is_of_the_fastest_peer_of_the_same_width_in_the_same_case() -> None:
    outcome = RoundsOutcome()
    outcome.facts["ours-as-served:auto"] = {"precision": "int8"}
    for who, case, seconds in (
        ("ours-as-served:auto", CASE, 1.0),
        ("ours:int8", CASE, 0.25),
        ("llama-server:q8_0", CASE, 0.5),
        ("ctranslate2:int8", CASE, 2.0),
        ("onnxruntime-genai:int4", CASE, 0.1),
        ("ctranslate2:int8", WIDER, 0.1),
    ):
        outcome.runs[who, case] = [run(seconds)]
    assert shares(outcome) == pytest.approx(
        {
            ("ours-as-served:auto", 1): 0.5,
            ("ours:int8", 1): 2.0,
            ("llama-server:q8_0", 1): 1.0,
            ("ctranslate2:int8", 1): 0.25,
            ("onnxruntime-genai:int4", 1): 1.0,
            ("ctranslate2:int8", 2): 1.0,
        }
    )


def test_without_a_peer_of_its_width_or_without_a_known_width_there_is_no_share() -> None:
    outcome = RoundsOutcome()
    for who in ("ours:fp32", "ours-as-served:auto", "a-peer:of-its-own"):
        outcome.runs[who, CASE] = [run(1.0)]
    assert set(shares(outcome).values()) == {None}


def test_bits_and_share_are_columns_and_what_each_states_is_a_note() -> None:
    assert {"bits", "share"} <= {column.key for column in COLUMNS}
    outcome = RoundsOutcome(facts={"ours": {"precision": "int8", "threads": 2}, "silent": {}})
    assert stated(outcome) == ["As each states it: ours: precision int8, threads 2."]
    assert stated(RoundsOutcome(facts={"silent": {}})) == []
