"""An engine that drafts answers as one that does not, in fewer steps."""

from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.engine.sequence import ScheduledChunk
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.llama import Llama
from pandagpt_core.types import SamplingParams, TokenOutput
from tests.engine.conftest import CONFIG, EOS, CountingRunner, Outputs
from tests.engine.speculation.known_answers import cheap, draft_from

Fixture = Callable[..., Any]
LOOPING = "pandapandapanda"


def steps_to_rest(engine: Engine) -> tuple[Outputs, int]:
    outputs: Outputs = {}
    for steps in range(1000):
        if not engine.has_work:
            return outputs, steps
        for output in engine.step():
            outputs.setdefault(output.sequence_id, []).append(output)
    raise AssertionError("the engine never came to rest")


def test_a_script_that_repeats_itself_takes_fewer_steps(scripted: Fixture, prompt: Fixture) -> None:
    text = "one two three one two three one two three."
    engine, runner = scripted({"a": text}, speculative_tokens=7)
    cheap(engine).add(EngineRequest("a", prompt("x"), SamplingParams(max_tokens=len(text))))
    outputs, steps = steps_to_rest(engine)
    assert "".join(output.text for output in outputs["a"]) == text
    assert [output.finish_reason for output in outputs["a"]] == [None] * (len(text) - 1) + ["length"]
    assert steps < 28
    stats = engine.stats()
    assert stats.accepted == len(text) - steps
    assert stats.drafted == sum(len(draft) for _, draft in runner.drafts) >= stats.accepted


@pytest.mark.parametrize("end", [{"stop": ("two",)}, {"stop_token_ids": (ord("t"),)}])
def test_an_answer_ends_within_a_draft_as_without_one(scripted: Fixture, prompt: Fixture, end: dict[str, Any]) -> None:
    texts = []
    for tokens in (0, 7):
        engine, _ = scripted({"a": "on on on on on two on on"}, speculative_tokens=tokens)
        cheap(engine).add(EngineRequest("a", prompt("on on on "), SamplingParams(max_tokens=20, **end)))
        outputs, _ = steps_to_rest(engine)
        texts.append([(o.text, o.token_id, o.finish_reason) for o in outputs["a"]])
        assert engine.stats().running == 0
    assert texts[0] == texts[1]


def test_the_end_of_sequence_within_a_draft_ends_it(scripted: Fixture, prompt: Fixture) -> None:
    engine, _ = scripted({"a": [1, 2, 3, 4, 1, 2, EOS, 9, 9, 9, 9, 9]}, speculative_tokens=4)
    cheap(engine).add(EngineRequest("a", prompt([1, 2, EOS, 7]), SamplingParams(max_tokens=12)))
    outputs, _ = steps_to_rest(engine)
    assert [o.token_id for o in outputs["a"]] == [1, 2, EOS] or [o.token_id for o in outputs["a"]][-1] == EOS
    assert outputs["a"][-1].finish_reason == "stop"


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(max_tokens=40, temperature=0.0, ignore_eos=True),
        SamplingParams(max_tokens=40, temperature=0.6, seed=5, ignore_eos=True),
        SamplingParams(max_tokens=40, temperature=0.6, seed=5, top_p=0.8, repetition_penalty=1.1, ignore_eos=True),
        SamplingParams(max_tokens=40, temperature=0.0, presence_penalty=0.2, ignore_eos=True, logprobs=2),
    ],
    ids=["greedy", "drawn", "penalised", "logprobs"],
)
def test_answers_are_those_without_drafts(make_engine: Fixture, prompt: Fixture, params: SamplingParams) -> None:
    """Several at once, and one that comes later, so that drafts stand beside prompts."""
    prompts = {"a": "a panda", "b": "a bear", "late": "later" * 5}
    plain, _ = _answers(make_engine(prefill_chunk=8), {n: prompt(words) for n, words in prompts.items()}, params)
    engine = cheap(make_engine(speculative_tokens=5, prefill_chunk=8))
    known = {tuple(words.encode()): ids(plain[name]) for name, words in prompts.items()}
    draft_from(engine, known)
    drafted, steps = _answers(engine, {n: prompt(words) for n, words in prompts.items()}, params)
    assert {name: ids(held) for name, held in drafted.items()} == {name: ids(held) for name, held in plain.items()}
    assert steps < 25
    assert engine.stats().accepted < engine.stats().drafted
    for name in plain:
        assert [o.logprob.logprob for o in drafted[name] if o.logprob] == pytest.approx(
            [o.logprob.logprob for o in plain[name] if o.logprob], abs=1e-4
        )


def _answers(engine: Engine, prompts: dict[str, LLMInputs], params: SamplingParams) -> tuple[Outputs, int]:
    for name in ("a", "b"):
        engine.add(EngineRequest(name, prompts[name], params))
    first = engine.step() + engine.step()
    engine.add(EngineRequest("late", prompts["late"], params))
    outputs, steps = steps_to_rest(engine)
    for output in reversed(first):
        outputs.setdefault(output.sequence_id, []).insert(0, output)
    return outputs, steps + 2


def ids(outputs: Sequence[TokenOutput]) -> list[int]:
    return [output.token_id for output in outputs]


class Wrong(CountingRunner):
    """Logits after drafts are not finite, as they are where a draft overflows."""

    def run(self, chunks: Any) -> Tensor:
        logits, row = super().run(chunks), 0
        for chunk in chunks:
            assert isinstance(chunk, ScheduledChunk)
            logits[row + 1 : row + chunk.asked] = torch.nan
            row += chunk.asked
        return logits


def test_a_draft_that_is_not_finite_fails_nobody(
    make_engine: Fixture, llama: Llama, prompt: Fixture, greedy: Fixture
) -> None:
    alone: Engine = make_engine()
    alone.add(EngineRequest("a", prompt(LOOPING), greedy(30, ignore_eos=True)))
    expected, _ = steps_to_rest(alone)
    runner = Wrong(llama, alone.sizes)
    engine: Engine = cheap(make_engine(runner, speculative_tokens=4))
    draft_from(engine, {tuple(LOOPING.encode()): ids(expected["a"])})
    engine.add(EngineRequest("a", prompt(LOOPING), greedy(30, ignore_eos=True)))
    with patch.object(runner._cache, "wipe") as wipe:
        outputs, _ = steps_to_rest(engine)
    assert engine.stats().drafted > 0
    assert [o.token_id for o in outputs["a"]] == [o.token_id for o in expected["a"]]
    wipe.assert_called_once_with(0, len(LOOPING) + 30)  # the rest of a draft behind the answer too


def test_prefixes_of_an_answer_with_drafts_serve_the_next_turn(
    counting: Fixture, prompt: Fixture, greedy: Fixture
) -> None:
    """The engine keeps the keys and values of the answer's tokens, not those of wrong drafts."""
    engine, _ = counting(speculative_tokens=5)
    plain = counting()[0]
    plain.add(EngineRequest("a", prompt(LOOPING), greedy(40, ignore_eos=True)))
    draft_from(engine, {tuple(LOOPING.encode()): ids(steps_to_rest(plain)[0]["a"])})
    cheap(engine).add(EngineRequest("a", prompt(LOOPING), greedy(40, ignore_eos=True)))
    outputs, _ = steps_to_rest(engine)
    assert engine.stats().accepted < engine.stats().drafted
    whole = [*LOOPING.encode(), *ids(outputs["a"])]
    following = []
    engine._speculator.most = 0
    for fresh in (engine, counting()[0]):
        entered = fresh.add(EngineRequest("b", prompt(whole), greedy(20, ignore_eos=True)))
        following.append([o.token_id for o in steps_to_rest(fresh)[0]["b"]])
        assert entered.cached_tokens == (48 if fresh is engine else 0)
    assert following[0] == following[1]
    assert CONFIG.max_positions > len(whole)


def test_a_runner_that_does_not_speculate_gets_no_drafts(scripted: Fixture, prompt: Fixture) -> None:
    engine, runner = scripted({"a": "on on on on on on"}, speculative_tokens=7)
    runner.speculates = False
    engine = type(engine)(engine._llm, engine._tokenizer, None, runner)
    engine.add(EngineRequest("a", prompt("on on on "), SamplingParams(max_tokens=12)))
    _, steps = steps_to_rest(engine)
    assert steps == 12
    assert runner.drafts == []


@pytest.mark.parametrize("end", range(2, 12))
def test_an_answer_that_ends_beside_drafts_spoils_none(make_engine: Fixture, prompt: Fixture, end: int) -> None:
    """The place that it leaves is taken by another sequence, of which the same step may accept more tokens."""
    prompts, lengths = {"a": "a panda", "b": "a bear", "c": "a cub"}, {"a": end, "b": 40, "c": 40}
    answers = []
    for drafts in (0, 5):
        engine = make_engine(speculative_tokens=drafts)
        if drafts:
            draft_from(engine, {tuple(words.encode()): ids(answers[0][name]) for name, words in prompts.items()})
            cheap(engine)
        for name, words in prompts.items():
            params = SamplingParams(max_tokens=lengths[name], temperature=0.0, ignore_eos=True)
            engine.add(EngineRequest(name, prompt(words), params))
        answers.append(steps_to_rest(engine)[0])
    assert {name: ids(held) for name, held in answers[1].items()} == {n: ids(held) for n, held in answers[0].items()}
    assert engine.stats().accepted > 0


def test_a_step_without_work_is_none(make_engine: Fixture, prompt: Fixture, greedy: Fixture) -> None:
    engine: Engine = make_engine(speculative_tokens=5)
    engine.add(EngineRequest("a", prompt("a panda"), greedy(3, ignore_eos=True)))
    steps_to_rest(engine)
    assert engine.step() == []
