"""Grammars, least lengths and biases: the allowed next tokens, alone, in a batch, resumed."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pandagpt_core.engine.constraints import BadWords, GrammarCompiler, LogitBias, MinTokens, constrained
from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.grammars import choice, json_schema, lark, regex
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.types import Grammar, SamplingParams
from tests.engine.conftest import CONFIG, EOS, PIECES, ByteTokenizer
from tests.torch_operations import Operations

SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["cat", "dog"]}, "n": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["name", "n"],
    "additionalProperties": False,
}
RANDOM = SamplingParams(max_tokens=60, temperature=1.5)


Answers = Callable[..., tuple[dict[str, list[int]], dict[str, str]]]


@pytest.fixture
def answers(make_engine: Callable[..., Engine], prompt: Any) -> Answers:
    """Tokens and texts by sequence, all in one batch."""

    engine = make_engine()

    def run(wanted: dict[str, SamplingParams], resume: dict[str, list[int]] | None = None) -> Any:
        tokens: dict[str, list[int]] = {name: [] for name in wanted}
        texts = dict.fromkeys(wanted, "")
        for name, params in wanted.items():
            engine.add(EngineRequest(name, prompt("ab"), params, (resume or {}).get(name, ())))
        while engine.has_work:
            for output in engine.step():
                assert output.error is None
                tokens[output.sequence_id].append(output.token_id)
                texts[output.sequence_id] += output.text
        return tokens, texts

    return run


@pytest.mark.parametrize("seed", range(4))
def test_a_schema_is_followed_by_a_model_that_knows_nothing(answers: Answers, seed: int) -> None:
    _, texts = answers({"a": replace(RANDOM, seed=seed, grammar=json_schema(SCHEMA))})
    made = json.loads(texts["a"])
    assert made["name"] in ("cat", "dog")
    assert 0 <= made["n"] <= 99


@pytest.mark.parametrize(
    ("grammar", "fits"),
    [
        (choice(["yes", "no"]), lambda text: text in ("yes", "no")),
        (regex("[a-c]{3}"), lambda text: len(text) == 3 and set(text) <= set("abc")),
        (lark('start: "x" /[0-9]+/ "y"'), lambda text: text[0] == "x" and text[-1] == "y" and text[1:-1].isdigit()),
    ],
)
def test_each_kind_of_grammar_is_followed(answers: Answers, grammar: Grammar, fits: Any) -> None:
    _, texts = answers({"a": replace(RANDOM, grammar=grammar)})
    assert fits(texts["a"])


def test_neighbours_of_a_constrained_sequence_are_as_they_are_alone(answers: Answers) -> None:
    free = replace(RANDOM, seed=3, max_tokens=20)
    alone, _ = answers({"free": free})
    together, texts = answers({"free": free, "held": replace(RANDOM, seed=1, grammar=json_schema(SCHEMA))})
    assert together["free"] == alone["free"]
    assert json.loads(texts["held"])


def test_a_resumed_answer_goes_on_within_its_grammar(answers: Answers) -> None:
    params = replace(RANDOM, seed=7, grammar=json_schema(SCHEMA))
    whole, _ = answers({"a": params})
    for cut in range(1, len(whole["a"])):
        rest, _ = answers({"a": params}, {"a": whole["a"][:cut]})
        assert rest["a"] == whole["a"][cut:]


def test_no_answer_ends_before_its_least_length(answers: Answers) -> None:
    biased = SamplingParams(max_tokens=12, temperature=0.0, logit_bias=((EOS, 100.0),))
    tokens, _ = answers({"short": biased, "long": replace(biased, min_tokens=5)})
    assert tokens["short"] == [EOS]
    assert tokens["long"].index(EOS) == 5


def test_a_bias_of_minus_100_bans_a_token_and_of_100_chooses_it(answers: Answers) -> None:
    greedy = SamplingParams(max_tokens=6, temperature=0.0, ignore_eos=True)
    first = answers({"a": greedy})[0]["a"][0]
    banned, _ = answers({"a": replace(greedy, logit_bias=((first, -100.0),))})
    chosen, _ = answers({"a": replace(greedy, logit_bias=((first, 100.0),))})
    assert first not in banned["a"]
    assert set(chosen["a"]) == {first}


def test_bad_words_are_not_written_also_where_an_answer_is_resumed(answers: Answers) -> None:
    free = SamplingParams(max_tokens=60, temperature=1.5, seed=3)
    whole = answers({"a": free})[1]["a"]
    word = next(whole[at : at + 2] for at in range(8, len(whole)) if whole[at : at + 2].strip().isascii())
    tokens, texts = answers({"a": replace(free, bad_words=(word,))})
    assert word in whole
    assert word not in texts["a"]
    rest, _ = answers({"a": replace(free, bad_words=(word,))}, {"a": tokens["a"][:9]})
    assert rest["a"] == tokens["a"][9:]


def runs_of(tokens: list[int], size: int) -> list[tuple[int, ...]]:
    return [tuple(tokens[at : at + size]) for at in range(len(tokens) - size + 1)]


@pytest.mark.parametrize("size", [1, 3])
def test_no_run_of_tokens_comes_twice_in_an_answer(answers: Answers, size: int) -> None:
    greedy = SamplingParams(max_tokens=60, temperature=0.0, ignore_eos=True, logit_bias=((97, 30.0), (98, 30.0)))
    free, held = answers({"free": greedy, "held": replace(greedy, no_repeat_ngram_size=size)})[0].values()
    assert len(set(runs_of(free, size))) < len(runs_of(free, size))
    assert len(set(runs_of(held, size))) == len(runs_of(held, size))


def test_a_resumed_answer_repeats_nothing_of_what_was_said_before(answers: Answers) -> None:
    params = SamplingParams(max_tokens=40, temperature=0.0, ignore_eos=True, no_repeat_ngram_size=2)
    whole = answers({"a": params})[0]["a"]
    for cut in (1, 2, 20):
        assert answers({"a": params}, {"a": whole[:cut]})[0]["a"] == whole[cut:]


def test_a_grammar_may_ask_for_repetition(answers: Answers) -> None:
    params = SamplingParams(max_tokens=40, temperature=0.0, no_repeat_ngram_size=1, grammar=regex("(ab){8}"))
    assert answers({"a": params})[1]["a"] == "ab" * 8


def test_constraints_that_leave_no_token_together_give_way_to_the_earlier_ones(answers: Answers) -> None:
    wanted = SamplingParams(max_tokens=9, grammar=choice(["yes"]), min_tokens=6, bad_words=("y",))
    assert answers({"a": wanted})[1]["a"] == "yes"


def test_a_row_is_changed_in_place_and_only_where_asked() -> None:
    row = torch.zeros(len(PIECES))
    LogitBias([(3, 2.0)]).apply(row)
    MinTokens(1, {EOS}).apply(row)
    assert row[3] == 2.0
    assert row[EOS] == float("-inf")
    assert (row == 0).sum() == len(PIECES) - 2


def test_constraints_cost_one_copy_and_one_look_however_many_there_are() -> None:
    logits = torch.zeros(4, CONFIG.vocab)
    held = [(row, (LogitBias([(3, 2.0)]), MinTokens(2, {EOS}), BadWords([[5], [6, 7]]))) for row in range(4)]
    with Operations() as done:
        changed = constrained(logits, held)
    assert (done.counts["clone"], done.counts["amax"], done.counts["gt"]) == (1, 1, 1)
    assert changed[:, [3, EOS, 5]].tolist() == [[2.0, float("-inf"), float("-inf")]] * 4
    with Operations() as done:
        constrained(logits, [(1, (LogitBias([(3, 2.0)]),))])
    assert done.counts["amax"] == 0, "a bias forbids nothing"


def test_a_row_without_a_token_keeps_what_earlier_constraints_left() -> None:
    logits = torch.arange(4.0).repeat(2, 1)
    everything = BadWords([[token] for token in range(4)])
    changed = constrained(logits, [(1, (MinTokens(2, {0}), everything, LogitBias([(2, 1.0)])))])
    assert changed.tolist() == [[0.0, 1.0, 2.0, 3.0], [float("-inf"), 1.0, 3.0, 3.0]]


@pytest.mark.parametrize("sequences", [[], [[5]], [[5, 6], [7, 8, 9]]])
def test_bad_words_remember_no_more_tokens_than_their_longest_needs(sequences: list[list[int]]) -> None:
    bad = BadWords(sequences)
    for token in range(100):
        bad.consume(token)
    assert len(bad._tokens) <= max(map(len, sequences), default=1) - 1


def test_an_end_is_allowed_exactly_where_the_grammar_may_end() -> None:
    constraint = GrammarCompiler(ByteTokenizer()).constraint(regex("aa?"), {EOS})
    assert CONFIG.vocab >= len(PIECES)
    ends = []
    for piece in ("a", "a"):
        row = torch.zeros(CONFIG.vocab)
        constraint.apply(row)
        ends.append(bool(row[EOS] == 0))
        constraint.consume(PIECES.index(piece.encode()))
    assert ends == [False, True]


def test_where_a_grammar_has_ended_only_the_sequences_own_ends_are_allowed() -> None:
    """Also of a tokenizer whose files name no end, and of a model with more rows than its tokenizer has pieces."""
    tokenizer = ByteTokenizer()
    tokenizer.eos_ids = frozenset()
    constraint = GrammarCompiler(tokenizer).constraint(regex("a"), {7})
    constraint.consume(PIECES.index(b"a"))
    row = torch.zeros(len(PIECES) + 8)
    constraint.apply(row)
    assert (row == 0).nonzero().flatten().tolist() == [7]


def test_an_answer_that_ignores_the_end_ends_where_its_grammar_does(answers: Answers) -> None:
    eager = replace(RANDOM, logit_bias=((EOS, 100.0),))
    params = {"soon": replace(eager, grammar=regex("[ab]{1,5}")), "late": replace(eager, grammar=regex("[ab]{1,5}"))}
    tokens, texts = answers({**params, "late": replace(params["late"], ignore_eos=True)})
    assert (len(texts["soon"]), len(texts["late"])) == (1, 5)
    assert tokens["late"][-1] == EOS


@pytest.mark.parametrize(
    "schema", [SCHEMA, {"type": "array", "items": {"enum": ["cat"]}, "minItems": 9, "maxItems": 9}]
)
def test_a_sentencepiece_vocabulary_spells_a_grammar_without_leading_space(golden: Path, schema: Any) -> None:
    tokenizer = load_tokenizer(golden / "pandagpt-tiny/vicuna_tiny")
    constraint = GrammarCompiler(tokenizer).constraint(json_schema(schema), tokenizer.eos_ids)
    drawn, tokens = torch.Generator().manual_seed(0), list[int]()
    while not tokens or tokens[-1] not in tokenizer.eos_ids:
        logits = torch.randn(tokenizer.size, generator=drawn)
        constraint.apply(logits)
        tokens.append(int(logits.argmax()))
        constraint.consume(tokens[-1])
        assert len(tokens) < 400
    assert json.loads(b"".join(map(tokenizer.token_bytes, tokens[:-1])))
