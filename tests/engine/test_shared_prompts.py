"""A prompt that several requests have is computed once, over however many steps it is read, and nobody waits for ever.

Positions are counted as the runner computes them. A prompt of 80 tokens is five blocks; the last of them is computed by
each request, since its last position gives the logits.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.types import Priority
from tests.engine.conftest import CountingRunner

Fixture = Callable[..., Any]
LONG = "x" * 80
CHUNK = 24  # four steps read it
OWN = 16  # of a prompt that is in the prefix cache


@pytest.fixture
def ask(prompt: Fixture, greedy: Fixture) -> Callable[..., None]:
    def add(engine: Engine, name: str, words: str = LONG, tenant: str = "", priority: Priority = "interactive") -> None:
        engine.add(EngineRequest(name, prompt(words), greedy(2, ignore_eos=True), priority=priority, tenant=tenant))

    return add


@pytest.mark.parametrize("steps_apart", [0, 1, 2, 3, 5])
def test_eight_equal_prompts_are_computed_once(
    counting: Fixture,
    drain: Fixture,
    ask: Fixture,
    steps_apart: int,
) -> None:
    engine, runner = counting(prefill_chunk=CHUNK)
    ended = 0
    for number in range(8):
        ask(engine, str(number))
        for _ in range(steps_apart):
            ended += sum(output.finish_reason is not None for output in engine.step())
    assert ended + len(drain(engine)) >= 8
    assert runner.positions == 80 + 7 * OWN + 8  # and of each answer the first token


def test_prompts_that_begin_alike_compute_what_differs(counting: Fixture, drain: Fixture, ask: Fixture) -> None:
    engine, runner = counting(prefill_chunk=CHUNK)
    for number in range(4):
        ask(engine, str(number), "x" * 48 + str(number) * 20)
    assert len(drain(engine)) == 4
    assert runner.positions == 68 + 3 * 20 + 4


def test_what_is_in_the_cache_already_is_not_waited_for(counting: Fixture, drain: Fixture, ask: Fixture) -> None:
    """Two that read different ends begin in the same step, though one entered before their beginning was kept."""
    engine, runner = counting()
    for number in range(3):
        ask(engine, str(number), "x" * 48 + str(number) * 20)
    engine.step()
    before = runner.positions
    engine.step()
    assert runner.positions - before == 1 + 20 + 20
    assert len(drain(engine)) == 2


@pytest.mark.parametrize("steps", [1, 3])
def test_the_next_one_reads_where_the_first_is_cancelled(
    counting: Fixture,
    drain: Fixture,
    ask: Fixture,
    steps: int,
) -> None:
    engine, runner = counting(prefill_chunk=CHUNK)
    for name in "abc":
        ask(engine, name)
    for _ in range(steps):
        engine.step()
    assert runner.positions == steps * CHUNK
    engine.abort("a")
    assert sorted(drain(engine)) == ["b", "c"]
    assert runner.positions == steps * CHUNK + 80 + OWN + 2


def test_one_that_waits_may_be_cancelled(counting: Fixture, drain: Fixture, ask: Fixture) -> None:
    engine, runner = counting(prefill_chunk=CHUNK)
    for name in "abc":
        ask(engine, name)
    engine.step()
    engine.abort("b")
    assert sorted(drain(engine)) == ["a", "c"]
    assert runner.positions == 80 + OWN + 2


def test_the_next_one_reads_where_the_first_fails(
    make_engine: Fixture, llama: Any, drain: Fixture, ask: Fixture
) -> None:
    class Failing(CountingRunner):
        """Fails at the third chunk of `a`."""

        def run(self, chunks: Any) -> torch.Tensor:
            if any(chunk.sequence.id == "a" and chunk.start >= 2 * CHUNK for chunk in chunks):
                raise RuntimeError("a kernel failed")
            return super().run(chunks)

    runner = Failing(llama, make_engine(prefill_chunk=CHUNK).sizes)
    engine = make_engine(runner, prefill_chunk=CHUNK)
    for name in "abc":
        ask(engine, name)
    outputs = drain(engine)
    assert [output.error is not None for output in outputs["a"]] == [True]
    assert [len(outputs[name]) for name in "bc"] == [2, 2]
    assert runner.positions == 2 * CHUNK + 80 + OWN + 2


def test_one_that_is_preempted_while_it_reads_holds_nobody_up(
    counting: Fixture,
    drain: Fixture,
    ask: Fixture,
) -> None:
    """The cache has room for one prompt; an interactive request takes it from a batch one that others wait for."""
    engine, runner = counting(prefill_chunk=CHUNK, kv_blocks=6, prefix_blocks=6, max_running=4)
    for name in "ab":
        ask(engine, name, priority="batch")
    engine.step()
    ask(engine, "urgent", "u" * 60)
    outputs = drain(engine)
    assert sorted(outputs) == ["a", "b", "urgent"]
    assert engine.stats().num_preemptions == 1
    assert runner.positions == CHUNK + 60 + 80 + OWN + 3


def test_tenants_do_not_wait_for_one_another(counting: Fixture, drain: Fixture, ask: Fixture) -> None:
    engine, runner = counting(prefill_chunk=160)
    for tenant in ("one", "two", "two", "one"):
        ask(engine, f"{tenant} {len(engine._scheduler._queue)}", tenant=tenant)
    engine.step()
    assert runner.positions == 160, "the first of each tenant reads in the first step"
    assert len(drain(engine)) == 4
    assert runner.positions == 2 * (80 + OWN) + 4


def test_an_interactive_request_does_not_wait_for_a_batch_one(
    counting: Fixture,
    drain: Fixture,
    ask: Fixture,
) -> None:
    engine, runner = counting(prefill_chunk=CHUNK)
    ask(engine, "batch", priority="batch")
    engine.step()
    for name in ("first", "second"):
        ask(engine, name)
    assert len(drain(engine)) == 3
    assert runner.positions == 2 * 80 + OWN + 3
