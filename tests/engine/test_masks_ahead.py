"""Masks of grammars are computed while the model computes, and are those that would be computed after it."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pandagpt_core.engine.constraints import GrammarCompiler, GrammarConstraint
from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.engine.sequence import ScheduledChunk
from pandagpt_core.grammars import choice, regex
from pandagpt_core.types import SamplingParams
from tests.engine.conftest import CONFIG, ByteTokenizer, ScriptedRunner

HELD = SamplingParams(max_tokens=9, temperature=0.0, grammar=choice(["panda", "dog"]))
TIME_S = 60.0


class WaitingRunner(ScriptedRunner):
    """A runner whose forward pass ends once every mask of the step is there."""

    def run(self, chunks: Sequence[ScheduledChunk]) -> Tensor:
        grammars = [one for chunk in chunks for one in chunk.sequence.constraints if isinstance(one, GrammarConstraint)]
        waited, until = threading.Event(), TIME_S
        while any(not len(grammar._forbidden) for grammar in grammars):
            assert until > 0, "the masks are not computed beside the forward pass"
            waited.wait(0.001)
            until -= 0.001
        return super().run(chunks)


def test_masks_are_computed_while_the_model_computes(make_engine: Callable[..., Engine], prompt: Any) -> None:
    engine = make_engine(WaitingRunner({"a": b"xxxxxxxxx", "b": b"dddddddddd", "free": b"xyz"}))
    engine.add(EngineRequest("a", prompt("ab"), HELD))
    engine.add(EngineRequest("b", prompt("ab"), HELD))
    engine.add(EngineRequest("free", prompt("ab"), replace(HELD, grammar=None, max_tokens=3)))
    texts = dict.fromkeys(("a", "b", "free"), "")
    while engine.has_work:
        for output in engine.step():
            texts[output.sequence_id] += output.text
    assert texts["a"] in ("panda", "dog")
    assert (texts["b"], texts["free"]) == ("dog", "xyz")


def test_an_engine_without_grammars_has_no_thread_for_them(make_engine: Callable[..., Engine], prompt: Any) -> None:
    engine = make_engine()
    engine.add(EngineRequest("free", prompt("ab"), replace(HELD, grammar=None)))
    while engine.has_work:
        engine.step()
    assert "_thread" not in vars(engine._masks)


def test_a_mask_that_was_made_ahead_is_the_one_of_its_own_step() -> None:
    ahead, after = (GrammarCompiler(ByteTokenizer()).constraint(regex("ab[cd]e*"), {9}) for _ in range(2))
    for token in b"abd":
        rows = torch.zeros(2, CONFIG.vocab)
        ahead.prepare(CONFIG.vocab)
        for row, constraint in zip(rows, (ahead, after), strict=True):
            constraint.apply(row)
            constraint.consume(token)
        assert torch.equal(*rows)
        assert rows[0][token] == 0
