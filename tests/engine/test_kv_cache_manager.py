"""A prefix that was read before is not read again, and no answer changes by it."""

import gc
from collections.abc import Callable
from collections.abc import Sequence as Items
from typing import Any

import pytest
import torch

from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.engine.sequence import Sequence
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.llama import Llama
from pandagpt_core.types import SamplingParams, TokenOutput

Fixture = Callable[..., Any]
SYSTEM = "You are a panda. You answer in bamboo. "  # 39 tokens: two whole blocks of 16


def ids(outputs: Items[TokenOutput]) -> list[int]:
    return [output.token_id for output in outputs]


def alone(make_engine: Fixture, drain: Fixture, inputs: LLMInputs, params: SamplingParams) -> list[int]:
    engine: Engine = make_engine(prefix_blocks=0)
    engine.add(EngineRequest("alone", inputs, params))
    return ids(drain(engine)["alone"])


def test_the_second_request_reads_only_what_is_new(
    counting: Fixture, make_engine: Fixture, drain: Fixture, prompt: Fixture, greedy: Fixture
) -> None:
    engine, runner = counting()
    assert engine.add(EngineRequest("a", prompt(SYSTEM + "hi"), greedy(1))).cached_tokens == 0
    drain(engine)
    assert runner.positions == 41
    assert engine.add(EngineRequest("b", prompt(SYSTEM + "hello"), greedy(1))).cached_tokens == 32
    got = ids(drain(engine)["b"])
    assert runner.positions == 41 + 44 - 32
    assert got == alone(make_engine, drain, prompt(SYSTEM + "hello"), greedy(1))
    prefix = engine.stats().prefix
    assert (prefix.queries, prefix.hits, prefix.blocks_used) == (41 + 44, 32, 2)


def test_a_prompt_known_to_its_last_token_still_computes_that(
    counting: Fixture, drain: Fixture, prompt: Fixture, greedy: Fixture
) -> None:
    engine, runner = counting()
    for name, cached, read in (("a", 0, 32), ("b", 16, 16)):
        before = runner.positions
        assert engine.add(EngineRequest(name, prompt("x" * 32), greedy(1))).cached_tokens == cached
        drain(engine)
        assert runner.positions - before == read


@pytest.mark.parametrize(
    "sizes", [{}, {"prefill_chunk": 5}, {"max_running": 2}, {"prefix_blocks": 3}, {"kv_blocks": 12, "block_size": 8}]
)
def test_answers_with_prefix_hits_are_those_of_a_request_alone(
    make_engine: Fixture, drain: Fixture, prompt: Fixture, sizes: dict[str, int]
) -> None:
    engine: Engine = make_engine(**sizes)
    styles = [SamplingParams(max_tokens=9, temperature=t, seed=n, top_p=0.9) for n, t in enumerate((0.0, 0.8, 1.3))]
    jobs = {
        f"{n}/{tail}": (prompt((SYSTEM if n % 2 else "") + tail), params)
        for tail in ("bamboo?", "bamboo!" * 3, "a")
        for n, params in enumerate(styles)
    }
    outputs: dict[str, list[int]] = {name: [] for name in jobs}
    for name, (inputs, params) in jobs.items():
        engine.add(EngineRequest(name, inputs, params))
        for output in engine.step():
            outputs[output.sequence_id].append(output.token_id)
    for name, rest in drain(engine).items():
        outputs[name] += ids(rest)
    assert engine.stats().prefix.hits > 0
    for name, (inputs, params) in jobs.items():
        assert outputs[name] == alone(make_engine, drain, inputs, params)


def test_the_next_turn_of_a_conversation_finds_prompt_and_answer(
    make_engine: Fixture, drain: Fixture, prompt: Fixture, greedy: Fixture
) -> None:
    engine: Engine = make_engine()
    engine.add(EngineRequest("a", prompt("x" * 20), greedy(30, ignore_eos=True)))
    talk = [*b"x" * 20, *ids(drain(engine)["a"]), *b" and?"]
    assert engine.add(EngineRequest("b", prompt(talk), greedy(5))).cached_tokens == 48
    assert ids(drain(engine)["b"]) == alone(make_engine, drain, prompt(talk), greedy(5))


def test_choices_of_one_prompt_read_it_once(counting: Fixture, drain: Fixture, prompt: Fixture) -> None:
    engine, runner = counting(prefill_chunk=30)
    for choice in range(4):
        engine.add(EngineRequest(f"r/{choice}", prompt(SYSTEM * 2), SamplingParams(max_tokens=1, seed=choice)))
    assert len(drain(engine)) == 4
    assert runner.positions == 78 + 3 * (78 - 64)


def test_one_picture_is_read_once_and_another_is_not_taken_for_it(
    make_engine: Fixture, drain: Fixture, llama: Llama, greedy: Fixture
) -> None:
    def with_picture(seed: int) -> LLMInputs:
        words = [*b"<Img> "], [*b" </Img> what is this? Tell me."]
        soft = torch.randn(1, 32, generator=torch.Generator().manual_seed(seed)) * 0.25
        return LLMInputs(torch.cat((llama.embed(words[0]), soft, llama.embed(words[1]))), (*words[0], -seed, *words[1]))

    engine: Engine = make_engine()
    for name, picture, cached in (("a", 7, 0), ("b", 7, 32), ("c", 8, 0)):
        assert engine.add(EngineRequest(name, with_picture(picture), greedy(8))).cached_tokens == cached
        assert ids(drain(engine)[name]) == alone(make_engine, drain, with_picture(picture), greedy(8))


def test_prefixes_are_never_shared_across_layer_biases(
    make_engine: Fixture, drain: Fixture, prompt: Fixture, greedy: Fixture
) -> None:
    engine: Engine = make_engine()
    one, other = torch.randn(2, 32), torch.randn(2, 32)
    for n, (bias, cached) in enumerate(((None, 0), (one, 0), (other, 0), (one.clone(), 32), (None, 32))):
        inputs = prompt(SYSTEM, layer_bias=bias)
        assert engine.add(EngineRequest(str(n), inputs, greedy(6))).cached_tokens == cached
        assert ids(drain(engine)[str(n)]) == alone(make_engine, drain, inputs, greedy(6))


def test_the_least_recently_used_prefix_makes_room(
    make_engine: Fixture, drain: Fixture, prompt: Fixture, greedy: Fixture
) -> None:
    engine: Engine = make_engine(prefix_blocks=4)

    def cached(words: str) -> int:
        admitted = engine.add(EngineRequest("q", prompt(words), greedy(1)))
        drain(engine)
        return admitted.cached_tokens

    assert [cached("a" * 33), cached("b" * 33)] == [0, 0]
    assert [cached("a" * 33), cached("c" * 33)] == [32, 0]
    assert [cached("a" * 33), cached("b" * 33)] == [32, 0]
    assert engine.stats().prefix.evictions == 4


def test_a_promised_prefix_stays_until_its_sequence_begins_or_goes(
    counting: Fixture, drain: Fixture, prompt: Fixture, greedy: Fixture
) -> None:
    for aborted in (False, True):
        engine, runner = counting(prefix_blocks=2, max_running=1)
        engine.add(EngineRequest("first", prompt("a" * 33), greedy(1)))
        drain(engine)
        engine.add(EngineRequest("busy", prompt("b" * 40), greedy(9, ignore_eos=True)))
        assert engine.add(EngineRequest("waits", prompt("a" * 33), greedy(1))).cached_tokens == 32
        engine.step()
        if aborted:
            engine.abort("waits")
        drain(engine)
        assert runner.positions == 33 + 40 + 8 + (0 if aborted else 1)
        assert engine.add(EngineRequest("next", prompt("b" * 40), greedy(1))).cached_tokens == (32 if aborted else 0)


def test_what_is_not_finite_is_not_kept(make_engine: Fixture, drain: Fixture, llama: Llama, greedy: Fixture) -> None:
    engine: Engine = make_engine()
    broken = llama.embed([7] * 40)
    broken[20] = 3e38  # finite at the door
    engine.add(EngineRequest("bad", LLMInputs(broken, (7,) * 40, torch.full((2, 32), 3e38)), greedy()))
    assert [o.error for o in drain(engine)["bad"]] == ["the model's output is not finite"]
    assert engine.stats().prefix.blocks_used == 0


def test_a_resumed_answer_may_begin_with_its_own_prefix(
    make_engine: Fixture, drain: Fixture, prompt: Fixture, greedy: Fixture
) -> None:
    engine: Engine = make_engine()
    engine.add(EngineRequest("a", prompt("x" * 20), greedy(30, ignore_eos=True)))
    whole = ids(drain(engine)["a"])
    admitted = engine.add(EngineRequest("a", prompt("x" * 20), greedy(30, ignore_eos=True), resume=whole[:15]))
    assert (admitted.prompt_tokens, admitted.cached_tokens) == (20, 20)
    assert ids(drain(engine)["a"]) == whole[15:]
    assert engine.stats().prefix.hits == 32


def test_hundreds_of_requests_leave_nothing_behind(
    make_engine: Fixture, drain: Fixture, prompt: Fixture, greedy: Fixture
) -> None:
    engine: Engine = make_engine(prefix_blocks=6, max_running=4, reserve="current", kv_blocks=8)

    def serve(first: int, last: int) -> int:
        for n in range(first, last):
            engine.add(EngineRequest(str(n), prompt(f"{n} {SYSTEM}"), greedy(3, ignore_eos=True)))
            engine.step()
            if n % 7 == 0:
                engine.abort(str(n))
        drain(engine)
        gc.collect()
        return sum(type(held) in (Sequence, torch.Tensor, dict, list, tuple) for held in gc.get_objects())

    before = serve(0, 40)
    assert serve(40, 340) < before + 100  # interpreters keep a few objects of their own
    stats = engine.stats()
    assert (stats.running, stats.waiting, stats.kv_blocks_used) == (0, 0, 0)
    assert stats.prefix.blocks_used == stats.prefix.blocks_total == 6
