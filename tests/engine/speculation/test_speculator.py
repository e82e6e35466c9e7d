"""The lengths of drafts, by their gain and the cost of rows."""

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Items
from itertools import repeat
from typing import Any

import pytest

from pandagpt_core.engine.constraints import GrammarCompiler
from pandagpt_core.engine.request import EngineRequest, make_sequence
from pandagpt_core.engine.sequence import ScheduledChunk, Sequence
from pandagpt_core.engine.speculation.base import Drafter, Guess
from pandagpt_core.engine.speculation.prompt_lookup import PromptLookup
from pandagpt_core.engine.speculation.speculator import ROWS, Speculator
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


class Same:
    """A source that guesses one token again and again."""

    def __init__(self, token: str, rate: float) -> None:
        self._guess = Guess(ord(token), rate)

    def guesses(self, _ids: Items[int]) -> Iterator[Guess]:
        return repeat(self._guess)


def free(*drafters: Drafter) -> Speculator:
    """As if rows cost next to nothing."""
    speculator = Speculator(4, drafters)
    for rows in (1, 64) * 40:
        speculator.cost.observe(rows, 0.01)
    return speculator


@pytest.mark.parametrize(("rate", "draft"), [(0.9, "xxxx"), (0.3, "abca")])
def test_the_likelier_source_drafts(looping: Made, rate: float, draft: str) -> None:
    assert drafts(free(PromptLookup(), Same("x", rate)), looping()) == [draft]


def test_a_source_that_has_nothing_leaves_the_other_one(looping: Made) -> None:
    assert drafts(free(PromptLookup(), Same("x", 0.1)), looping(words="nothing like")) == ["x"]


def test_a_draft_ends_where_its_tokens_together_are_too_unlikely(looping: Made) -> None:
    speculator = Speculator(4, (Same("x", 0.4),))  # worth more than 0.15, by the usual cost of a row
    assert drafts(speculator, looping()) == ["xx"]


def test_a_source_that_is_wrong_gives_way_to_the_other_one(looping: Made) -> None:
    speculator, sequence = free(Same("x", 0.9), Same("y", 0.5)), looping()
    drafted = [bytes(_wrong(speculator, sequence)[0].draft[:1]).decode() for _ in range(12)]
    assert drafted[0] == "x"
    assert "y" in drafted


def test_a_source_that_is_right_more_often_than_it_says_is_believed(looping: Made) -> None:
    speculator, sequence = Speculator(4, (Same("x", 0.4),)), looping(max_tokens=80)
    for _ in range(30):
        made = speculator.add_drafts([chunk(sequence)])
        speculator.learn(made[0], len(made[0].draft))
    assert drafts(speculator, sequence) == ["xxxx"]
    assert speculator.accepted > 60


def test_after_a_long_loop_a_source_is_doubted_within_few_steps(looping: Made) -> None:
    speculator, sequence = free(Same("x", 0.7)), looping(max_tokens=80)
    for _ in range(500):
        made = speculator.add_drafts([chunk(sequence)])
        speculator.learn(made[0], len(made[0].draft))
    lengths = [len(_wrong(speculator, sequence)[0].draft) for _ in range(14)]
    assert lengths[0] == 4
    assert lengths[-1] < 4


def test_one_sequence_learns_nothing_of_another(looping: Made) -> None:
    speculator = free(Same("x", 0.5))
    for _ in range(40):
        _wrong(speculator, looping("a"))
    fresh = looping("b")
    wronged = looping("c")
    for _ in range(40):
        _wrong(speculator, wronged)
    assert len(drafts(speculator, wronged)[0]) < len(drafts(speculator, fresh)[0]) == 4


def fours(rows: int) -> int:
    return -(-rows // 4) * 4


def twos(rows: int) -> int:
    return -(-rows // 2) * 2


def test_rows_that_are_computed_in_any_case_are_drafted(looping: Made) -> None:
    assert drafts(Speculator(4, (Same("x", 0.3),)), looping()) == ["x"]
    assert drafts(Speculator(4, (Same("x", 0.3),), computed=fours), looping()) == ["xxx"]


@pytest.mark.parametrize(("before", "draft"), [(2, "x"), (4, "xxx")])
def test_another_number_of_rows_than_before_has_to_be_worth_it(looping: Made, before: int, draft: str) -> None:
    speculator = Speculator(3, (Same("x", 0.6),), computed=twos, change=16)
    speculator._rows = before
    assert drafts(speculator, looping()) == [draft]


def test_where_a_change_costs_time_its_step_says_nothing_of_rows(looping: Made) -> None:
    speculator, sequence = Speculator(3, (Same("x", 0.6),), change=16), looping()
    usual = speculator.cost.of_a_row(1)
    for before in (1, 2, 3):
        speculator._rows = before
        made = speculator.add_drafts([chunk(sequence)])
        speculator._steady = False
        speculator.observe(made, 5.0)
    assert speculator.cost.of_a_row(1) == usual


def test_the_likeliest_tokens_of_all_sequences_fill_a_step(looping: Made) -> None:
    """Four rows, two of which are the sequences' own: the second token of the likelier one comes before the other's."""

    class ByWords:
        def guesses(self, ids: Items[int]) -> Iterator[Guess]:
            likely = ids[0] == ord("l")
            return repeat(Guess(ord("x"), 0.9 if likely else 0.3))

    speculator = Speculator(4, (ByWords(),), computed=fours, change=1000)
    speculator._rows = 4
    assert drafts(speculator, looping("a", "likely"), looping("b", "seldom")) == ["xx", ""]
