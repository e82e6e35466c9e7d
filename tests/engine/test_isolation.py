"""One bad sequence fails alone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.errors import EngineError
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.types import SamplingParams

Fixture = Callable[..., Any]
NAMES = ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("bad", [["c"], ["a", "e"], NAMES])
@pytest.mark.parametrize("how", ["raises", "poisons"])
def test_the_others_never_notice(scripted: Fixture, prompt: Fixture, drain: Fixture, bad: list[str], how: str) -> None:
    engine, runner = scripted(dict.fromkeys(NAMES, "panda"))
    for name in NAMES:
        engine.add(EngineRequest(name, prompt("x"), SamplingParams(max_tokens=5)))
    engine.step()
    getattr(runner, how).update(bad)
    outputs = drain(engine)
    for name in NAMES:
        if name in bad:
            assert [(o.token_id, o.text, o.finish_reason) for o in outputs[name]] == [(-1, "", None)]
            assert "panda" not in (outputs[name][0].error or "panda")
        else:
            assert "".join(o.text for o in outputs[name]) == "anda"
            assert outputs[name][-1].finish_reason == "length"
    assert sorted(runner.released) == NAMES
    assert engine.stats().running == engine.stats().kv_blocks_used == 0


def overflowing(inputs: LLMInputs) -> LLMInputs:
    """Finite, so it passes the door; the residual stream overflows after one layer and the cache holds NaN."""
    inputs.embeds[3] = 3e38
    return replace(inputs, layer_bias=torch.full((2, 32), 3e38))


def test_not_finite_values_in_a_slot_do_not_reach_who_comes_after(
    make_engine: Fixture, prompt: Fixture, drain: Fixture, greedy: Fixture
) -> None:
    engine: Engine = make_engine(max_running=2)
    engine.add(EngineRequest("alone", prompt("ab"), greedy()))
    expected = [o.token_id for o in drain(engine)["alone"]]
    engine.add(EngineRequest("other", prompt("hello"), greedy(40)))
    engine.step()
    engine.add(EngineRequest("bad", overflowing(prompt("xyzxyzxyz")), greedy()))
    outputs = engine.step()
    assert [o.sequence_id for o in outputs if o.error] == ["bad"]
    engine.add(EngineRequest("next", prompt("ab"), greedy()))
    assert [o.token_id for o in drain(engine)["next"]] == expected


def test_not_finite_values_of_an_aborted_prefill_do_not_reach_who_comes_after(
    make_engine: Fixture, prompt: Fixture, drain: Fixture, greedy: Fixture
) -> None:
    engine: Engine = make_engine(max_running=1, prefill_chunk=4)
    engine.add(EngineRequest("alone", prompt("ab"), greedy()))
    expected = [o.token_id for o in drain(engine)["alone"]]
    engine.add(EngineRequest("bad", overflowing(prompt("xyzxyzxyz")), greedy()))
    assert engine.step() == []
    engine.abort("bad")
    engine.add(EngineRequest("next", prompt("ab"), greedy()))
    assert [o.token_id for o in drain(engine)["next"]] == expected


def nan_at(row: int, rows: torch.Tensor) -> torch.Tensor:
    rows = rows.clone()
    rows[row, 0] = float("nan")
    return rows


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (LLMInputs(torch.zeros(0, 32), ()), "the prompt is empty"),
        (LLMInputs(torch.zeros(3, 31), (1, 2, 3)), r"\(3, 31\), expected \(3, 32\)"),
        (LLMInputs(torch.zeros(2, 32), (1, 2, 3)), r"\(2, 32\), expected \(3, 32\)"),
        (LLMInputs(torch.zeros(1, 3, 32), (1, 2, 3)), r"expected \(3, 32\)"),
        (LLMInputs(nan_at(1, torch.zeros(3, 32)), (1, 2, 3)), "not finite"),
        (LLMInputs(torch.zeros(1, 32), (1,), torch.zeros(1, 32)), r"finite and \(2, 32\), it is \(1, 32\)"),
        (LLMInputs(torch.zeros(1, 32), (1,), nan_at(0, torch.zeros(2, 32))), "finite"),
    ],
)
def test_inputs_that_are_no_prompt_are_refused_at_the_door(
    make_engine: Fixture, inputs: LLMInputs, message: str
) -> None:
    engine: Engine = make_engine()
    with pytest.raises(EngineError, match=message):
        engine.add(EngineRequest("bad", inputs, SamplingParams()))
    assert not engine.has_work


def test_a_resumed_token_outside_of_the_vocabulary_is_refused(make_engine: Fixture, prompt: Fixture) -> None:
    with pytest.raises(EngineError, match="outside of the vocabulary of 260"):
        make_engine().add(EngineRequest("bad", prompt("a"), SamplingParams(), resume=[3, 260]))
