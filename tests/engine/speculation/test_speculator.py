"""The lengths of drafts, by their gain and the cost of rows."""

from collections.abc import Callable
from typing import Any

import pytest

from pandagpt_core.engine.constraints import GrammarCompiler
from pandagpt_core.engine.request import EngineRequest, make_sequence
from pandagpt_core.engine.sequence import ScheduledChunk, Sequence
from pandagpt_core.engine.speculation.speculator import PRIOR, ROWS, Speculator, StepCost
from pandagpt_core.types import SamplingParams
from tests.engine.conftest import CONFIG, ByteTokenizer

LOOP = "abcabcabc"
Made = Callable[..., Sequence]


@pytest.fixture
def looping(prompt: Callable[..., Any], tokenizer: ByteTokenizer) -> Made:
    """A sequence whose prompt repeats itself, read but for its last token."""

    def make(name: str = "a", words: str = LOOP, max_tokens: int = 20) -> Sequence:
        request = EngineRequest(name, prompt(words), SamplingParams(max_tokens=max_tokens))
        made = make_sequence(request, tokenizer, CONFIG.vocab, 96, GrammarCompiler(tokenizer))
        made.num_computed_tokens = made.length - 1
        return made

    return make


def chunk(sequence: Sequence) -> ScheduledChunk:
    return ScheduledChunk(sequence, sequence.num_computed_tokens, sequence.num_uncomputed_tokens)


def drafts(speculator: Speculator, *sequences: Sequence) -> list[str]:
    return [bytes(made.draft).decode() for made in speculator.add_drafts([chunk(each) for each in sequences])]


def test_a_loop_is_drafted(looping: Made) -> None:
    assert drafts(Speculator(4), looping(), looping("b", "nothing"))[1] == ""
    assert drafts(Speculator(4), looping())[0] == "abca"


def test_without_a_number_nothing_is_drafted(looping: Made) -> None:
    assert drafts(Speculator(0), looping()) == [""]


def test_no_token_is_drafted_beyond_the_answers_end(looping: Made) -> None:
    assert drafts(Speculator(4), looping(max_tokens=3)) == ["ab"]
    assert drafts(Speculator(4), looping(max_tokens=1)) == [""]


def test_a_prompt_that_is_being_read_drafts_nothing(looping: Made) -> None:
    reading = looping()
    reading.num_computed_tokens = 2
    assert drafts(Speculator(4), reading) == [""]


def test_a_step_has_no_more_rows_than_its_room(looping: Made) -> None:
    speculator = Speculator(7)
    for rows in (1, 64) * 40:
        speculator.cost.observe(rows, 0.01)  # rows cost nothing
    made = speculator.add_drafts([chunk(looping(str(number))) for number in range(30)])
    assert sum(each.rows for each in made) == ROWS


def test_a_sequence_whose_drafts_are_wrong_stops_and_tries_again(looping: Made) -> None:
    speculator, sequence = Speculator(4), looping()
    tried = [len(made.draft) for made in (next(iter(_wrong(speculator, sequence))) for _ in range(400))]
    assert tried[0] == 4
    assert 0 < sum(map(bool, tried[100:])) < 100  # rarely, and not never
    assert max(tried[100:]) == 1


def _wrong(speculator: Speculator, sequence: Sequence) -> list[ScheduledChunk]:
    made = speculator.add_drafts([chunk(sequence)])
    speculator.learn(made[0], 0)
    return made


def test_where_rows_are_dear_nobody_drafts(looping: Made) -> None:
    speculator = Speculator(4)
    for rows in (1, 4) * 40:
        speculator.observe([chunk(looping(str(n))) for n in range(rows)], 0.01 * rows)
    assert drafts(speculator, looping()) == [""]


def test_a_step_that_reads_a_prompt_says_nothing_of_rows(looping: Made) -> None:
    speculator, reading = Speculator(4), looping()
    reading.num_computed_tokens = 0
    speculator.observe([chunk(reading)], 5.0)
    assert speculator.cost.of_a_row(1) == Speculator(4).cost.of_a_row(1)


def seen(*steps: tuple[int, float]) -> StepCost:
    cost = StepCost()
    for rows, seconds in steps:
        cost.observe(rows, seconds)
    return cost


def test_before_any_step_a_row_costs_what_is_usual() -> None:
    assert StepCost().of_a_row(1) == PRIOR


def test_steps_of_one_size_leave_the_usual_part() -> None:
    assert seen(*[(1, 0.01)] * 50).of_a_row(1) == pytest.approx(PRIOR)


@pytest.mark.parametrize("slope", [0.0005, 0.002, 0.01])
def test_a_row_is_learned_from_steps_of_several_sizes(slope: float) -> None:
    steps = [(rows, 0.01 + slope * rows) for rows in (1, 4, 8, 16) * 20]
    assert seen(*steps).of_a_row(8) == pytest.approx(slope / (0.01 + slope * 8), rel=0.05)


def test_one_slow_step_does_not_make_rows_dear() -> None:
    steady = [(rows, 0.01 + 0.001 * rows) for rows in (1, 4) * 20]
    assert seen(*steady, (4, 30.0), *steady).of_a_row(1) == pytest.approx(1 / 11, rel=0.2)


def test_a_row_always_costs_something() -> None:
    assert seen(*[(rows, 0.02 - 0.0005 * rows) for rows in (1, 8) * 20]).of_a_row(1) > 0
