"""The choice at load of the library for the language model's steps."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from pandagpt_core import autotune as chooser
from pandagpt_core.autotune import AutotuneReport, Steps, Timer
from pandagpt_core.llm import autotune
from pandagpt_core.llm.autotune import KINDS, LIMITS, RunnerName, served
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.openvino import capable
from pandagpt_core.llm.precision import MARGIN, SMALL, divergence, probed
from pandagpt_core.llm.quant.int8 import int8_runs
from pandagpt_core.llm.quant.linear import Precision
from tests.llm.openvino_here import absent, needs, present

MakeLlama = Callable[..., Llama]


def clock(fast: RunnerName, **faster: float) -> Timer:
    """Coarser is faster, and one of the runners twice as fast as the other."""
    speeds = {"fp32": 1.0, "bf16": 0.8, "int8": 0.4}

    def seconds(name: str) -> float:
        runner, kind = name.split()
        return speeds[kind] / (2 if runner == fast else 1) / faster.get(kind, 1.0)

    return lambda steps: {name: seconds(name) for name in steps}


served_large = functools.partial(served, least=0)
"""Of tiny models, which count as large."""


def cancelling(llama: Llama) -> Llama:
    """The model with answers that depend on the small difference of large weights, which only float32 holds."""
    mlp = llama.model.layers[0].mlp
    with torch.no_grad():
        for part in (mlp.gate_proj, mlp.up_proj):
            part.weight[1] = part.weight[0] = 1.0
        mlp.down_proj.weight[:, 1] = -400.0
        mlp.down_proj.weight[:, 0].add_(400.0)
    return llama


@pytest.mark.parametrize("kind", ["bf16", "fp32", "int8"])
def test_openvino_computes_where_it_is_faster(make_llama: MakeLlama, kind: Any) -> None:
    needs(kind)
    chosen = served_large(make_llama(), kind, timed=clock("openvino"))
    assert chosen.backend == "openvino"
    assert chosen.precision == kind
    assert divergence(probed(make_llama()), chosen) <= LIMITS[kind]


@pytest.mark.parametrize("kind", ["bf16", "fp32", "int8"])
def test_torch_computes_where_it_is_as_fast(make_llama: MakeLlama, kind: Any) -> None:
    if kind == "int8" and not int8_runs("cpu"):
        pytest.skip("torch has no exact int8 kernel for this processor")
    chosen = served_large(make_llama(), kind, timed=clock("torch"))
    assert chosen.backend == "torch"
    assert chosen.precision == kind


def test_by_auto_the_fastest_of_those_that_compute_here_is_taken(make_llama: MakeLlama) -> None:
    """By the clock alone, in whatever precisions this machine has: a precision of its own for each of them."""
    reports: list[AutotuneReport] = []
    chosen = served_large(make_llama(), "auto", report=reports.append, timed=clock("torch", fp32=0.5))
    assert chosen.backend == "torch"
    assert chosen.precision == ("int8" if int8_runs("cpu") else "bf16")
    assert divergence(probed(make_llama()), chosen) <= MARGIN
    assert reports[0].taken == f"torch {chosen.precision}"


def test_what_deviates_too_much_is_passed_over(make_llama: MakeLlama, tiny_config: LlamaConfig) -> None:
    llama = make_llama(replace(tiny_config, layers=1))
    mlp = llama.model.layers[0].mlp
    with torch.no_grad():  # int8 has one step size for an output row: an outlier leaves none for the rest
        mlp.down_proj.weight[:, 0] = 400.0
        mlp.up_proj.weight[0] = 1e-6
    before = [parameter.clone() for parameter in llama.parameters()]
    chosen = served_large(llama, "auto", runner="torch", timed=clock("torch"))
    assert chosen.precision == "bf16"
    assert all(map(torch.equal, llama.parameters(), before)), "the trial changed the model"


def test_what_is_not_faster_is_not_chosen(make_llama: MakeLlama) -> None:
    def same(steps: Steps) -> Mapping[str, float]:
        return dict.fromkeys(steps, 1.0)

    chosen = served_large(make_llama(), "auto", timed=same)
    assert (chosen.precision, chosen.backend) == ("fp32", "torch")


def test_one_precision_that_openvino_lacks_leaves_it_the_others(make_llama: MakeLlama) -> None:
    needs("fp32")

    def why_not(kind: Precision) -> str:
        return "" if kind == "fp32" else "expect kvcache type f32"

    reports: list[AutotuneReport] = []
    timed = clock("openvino", fp32=9.0)
    chosen = served_large(make_llama(), "auto", report=reports.append, timed=timed, why_not=why_not)
    assert (chosen.precision, chosen.backend) == ("fp32", "openvino")
    assert "openvino bf16" in [t.name for t in reports[0].trials if t.out == "expect kvcache type f32"]


def test_torch_in_int8_that_strays_does_not_hide_openvino_in_float32(make_llama: MakeLlama) -> None:
    needs("fp32")
    chosen = served_large(cancelling(make_llama()), "auto", timed=clock("openvino"))
    assert (chosen.precision, chosen.backend) == ("fp32", "openvino")


@pytest.mark.parametrize("case", ["small", "torch named", "accelerator", "fp16"])
def test_nothing_is_tried_where_nothing_is_to_be_gained(make_llama: MakeLlama, case: str) -> None:
    def never(_steps: Steps) -> Mapping[str, float]:
        raise AssertionError("tried")

    llama, least = make_llama(), SMALL if case == "small" else 0
    device = "meta" if case == "accelerator" else "cpu"
    kind: Any = "fp16" if case == "fp16" else "bf16"
    reports: list[AutotuneReport] = []
    runner: RunnerName = "torch" if "torch" in case else "auto"
    chosen = served(llama.to(device), kind, device, runner, reports.append, never, least)
    assert chosen.backend == "torch"
    assert [report.taken for report in reports] == [f"torch {kind}"]


def test_without_openvino_torch_alone_is_tried(make_llama: MakeLlama, monkeypatch: pytest.MonkeyPatch) -> None:
    absent(monkeypatch)
    reports: list[AutotuneReport] = []
    assert served_large(make_llama(), "auto", report=reports.append, timed=clock("openvino")).backend == "torch"
    assert {trial.name.split()[0] for trial in reports[0].trials} == {"torch"}


def test_a_small_model_stays_exact(make_llama: MakeLlama) -> None:
    assert served(make_llama(), "auto").precision == "fp32"


def test_an_accelerator_gets_bfloat16_unasked(make_llama: MakeLlama) -> None:
    assert served(make_llama().to("meta"), "auto", "meta").precision == "bf16"


@pytest.mark.parametrize("kind", KINDS)
def test_a_runner_that_is_named_is_taken_whatever_is_faster(make_llama: MakeLlama, kind: Any) -> None:
    needs(kind)
    assert served(make_llama(), kind, runner="openvino", timed=clock("torch")).precision == kind


def test_by_auto_a_named_runner_takes_its_own_fastest_within_the_limit(make_llama: MakeLlama) -> None:
    needs("fp32")
    chosen = served(make_llama(), "auto", runner="openvino", timed=clock("openvino"))
    assert chosen.backend == "openvino"
    assert divergence(probed(make_llama()), chosen) <= MARGIN
    chosen = served(cancelling(make_llama()), "auto", runner="openvino", timed=clock("openvino"))
    assert (chosen.precision, chosen.backend) == ("fp32", "openvino")


@pytest.mark.parametrize(
    ("precision", "device", "installed", "message"),
    [
        ("fp32", "meta", True, "the runner openvino needs the device cpu, it is meta"),
        ("fp32", "cpu", False, r"not installed: pip install -e '\.\[openvino\]'"),
        ("fp16", "cpu", True, "the runner openvino does not compute fp16 here: it has no fp16, only int8, bf16, fp32"),
    ],
)
def test_an_openvino_that_is_named_and_cannot_be_is_an_error(
    make_llama: MakeLlama, monkeypatch: pytest.MonkeyPatch, precision: Any, device: str, installed: bool, message: str
) -> None:
    (present if installed else absent)(monkeypatch)
    with pytest.raises(ValueError, match=message):
        served(make_llama(), precision, device, "openvino")


def test_a_precision_that_this_machine_lacks_is_an_error_for_a_named_runner(make_llama: MakeLlama) -> None:
    def lacking(_kind: Precision) -> str:
        return "expect kvcache type f32, current: bf16"

    with pytest.raises(ValueError, match="does not compute bf16 here: expect kvcache type f32, current: bf16"):
        served(make_llama(), "bf16", runner="openvino", why_not=lacking)
    with pytest.raises(ValueError, match=r"serve auto by the runner openvino here: .*expect kvcache type f32"):
        served(make_llama(), "auto", runner="openvino", why_not=lacking)


def test_every_way_of_this_machine_has_steps_that_can_be_timed(make_llama: MakeLlama) -> None:
    kinds = [kind for kind in KINDS if not capable.why_not(kind)]
    ways = [*((kind, "torch") for kind in KINDS if kind != "int8" or int8_runs("cpu")),
            *((kind, "openvino") for kind in kinds)]  # fmt: skip
    steps = {c.name: c.prepare() for c in autotune.candidates(make_llama(), ways, exact=True)}  # type: ignore[arg-type]
    taken = chooser.seconds(steps)
    assert len(taken) == len(ways)
    assert min(taken.values()) > 0
