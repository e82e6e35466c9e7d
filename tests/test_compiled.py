"""Functions are compiled where a device has launches to save, and only where they compute the same."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from pandagpt_core import compiled
from pandagpt_core.llm import pointwise
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.quant import fp8

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
QWEN3 = LlamaConfig(vocab=32, width=32, layers=1, heads=4, kv_heads=2, head_dim=8, ffn=48, head_norms=True)


@dataclass(frozen=True)
class Functions:
    twice: Callable[[Tensor], Tensor] = lambda x: x + x


def results(made: Functions, rows: int) -> Iterator[Tensor]:
    yield made.twice(torch.arange(rows).float())


def test_a_cpu_has_the_functions_as_they_are() -> None:
    eager = Functions()
    assert compiled.fitting(eager, results, CPU) is eager


def test_values_that_differ_are_found() -> None:
    assert compiled.agrees(Functions(), Functions(), results)
    assert not compiled.agrees(Functions(lambda x: 2.1 * x), Functions(), results)


def no_compiler(_x: Tensor) -> Tensor:
    raise RuntimeError("no C compiler")


@pytest.mark.parametrize(
    ("twice", "taken"),
    [(lambda x: 2 * x, True), (lambda x: 3 * x, False), (no_compiler, False)],
    ids=["same", "other values", "raises"],
)
def test_compiled_ones_are_taken_only_where_they_agree(
    twice: Callable[[Tensor], Tensor], taken: bool, caplog: pytest.LogCaptureFixture
) -> None:
    eager, made = Functions(), Functions(twice)
    with caplog.at_level(logging.WARNING):
        fitting = compiled.fitting(eager, results, CUDA, lambda _: made)
    assert (fitting is eager) is not taken
    assert len(caplog.records) == (not taken)


def test_compiled_ones_serve_what_is_recorded_alone() -> None:
    either = compiled.switched(Functions(lambda _: torch.ones(1)), Functions(lambda _: torch.zeros(1)))
    with compiled.recorded():
        assert either.twice(torch.zeros(1)) == 1
    assert either.twice(torch.zeros(1)) == 0


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # the compiler's, of torch's own code
def test_each_is_one_graph_that_computes_the_same() -> None:
    """Without kernels: torch's kernels for a CPU in 16 bits differ by its instructions, and are not served."""
    of_llm = pointwise.probe(QWEN3, torch.bfloat16, CPU)
    assert compiled.agrees(compiled.compiled(pointwise.EAGER, "aot_eager"), pointwise.EAGER, of_llm)
    assert compiled.agrees(compiled.compiled(fp8.EAGER, "aot_eager"), fp8.EAGER, fp8.probe(CPU))


def test_every_function_of_a_layer_is_compared() -> None:
    of_llm = pointwise.probe(QWEN3, torch.bfloat16, CPU)
    gate = replace(pointwise.EAGER, gate=lambda gate_up: pointwise.EAGER.gate(gate_up) * 1.1)
    turn = replace(pointwise.EAGER, turn=lambda heads, *_: heads)
    norm = replace(pointwise.EAGER, norm=lambda x, *given: pointwise.EAGER.norm(x + 0.1, *given))
    assert [compiled.agrees(other, pointwise.EAGER, of_llm) for other in (gate, turn, norm)] == [False] * 3
