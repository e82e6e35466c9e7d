"""Who computes the language model's steps: the choice at load."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pandagpt_core.llm import autotune, openvino
from pandagpt_core.llm import precision as choosing
from pandagpt_core.llm.autotune import LIMITS, Runner, Timer, Way, served
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.precision import MARGIN, divergence, probed

MakeLlama = Callable[..., Llama]
here = pytest.mark.skipif(not openvino.installed(), reason="OpenVINO is not installed (pip install pandagpt[openvino])")


def clock(fast: Runner) -> Timer:
    """Coarser is faster, and one of the runners twice as fast as the other."""
    speeds = {"fp32": 1.0, "bf16": 0.8, "int8": 0.7}
    return lambda _llm, ways: {way: speeds[way[0]] / (2 if way[1] == fast else 1) for way in ways}


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch, make_llama: MakeLlama) -> MakeLlama:
    """Tiny models that count as large."""
    monkeypatch.setattr(choosing, "SMALL", 0)
    return make_llama


@here
@pytest.mark.parametrize(("asked", "got"), [("auto", "int8"), ("bf16", "bf16"), ("fp32", "fp32")])
def test_openvino_computes_where_it_is_faster(
    large: MakeLlama, monkeypatch: pytest.MonkeyPatch, asked: Any, got: str
) -> None:
    monkeypatch.setattr(autotune, "seconds", clock("openvino"))
    chosen = served(large(), asked)
    assert chosen.compiled is not None
    assert chosen.precision == got
    assert divergence(probed(large()), chosen) <= LIMITS[chosen.precision]


@pytest.mark.parametrize("asked", ["fp32", "bf16", "int8"])
def test_torch_computes_where_it_is_as_fast(large: MakeLlama, monkeypatch: pytest.MonkeyPatch, asked: Any) -> None:
    monkeypatch.setattr(autotune, "seconds", clock("torch"))
    chosen = served(large(), asked)
    assert chosen.compiled is None
    assert chosen.precision == asked


@here
def test_a_graph_that_says_something_else_is_not_taken(large: MakeLlama, monkeypatch: pytest.MonkeyPatch) -> None:
    """int8 strays too far, as its margin is set to nothing here; the next does not."""
    monkeypatch.setattr(autotune, "seconds", clock("openvino"))
    monkeypatch.setitem(LIMITS, "int8", 1e-9)
    llama = large()
    before = probed(llama)
    chosen = served(llama, "auto")
    assert (chosen.precision, chosen.compiled is None) == ("bf16", False)
    assert torch.equal(probed(llama), before)  # the trial left the model as it was


def test_what_fails_on_the_way_leaves_torch(
    large: MakeLlama, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> Any:
        raise RuntimeError("no such operation")

    monkeypatch.setattr(openvino, "installed", lambda: True)
    monkeypatch.setattr(autotune, "seconds", fails)
    assert served(large(), "fp32").compiled is None
    assert [record.getMessage() for record in caplog.records] == [
        "OpenVINO does not compute this model here: RuntimeError"
    ]


@pytest.mark.parametrize("case", ["small", "torch named", "not installed", "accelerator", "fp16"])
def test_nothing_is_tried_where_nothing_is_to_be_gained(
    make_llama: MakeLlama, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    def never(*_: object) -> float:
        raise AssertionError("tried")

    monkeypatch.setattr(autotune, "seconds", never)
    monkeypatch.setattr(openvino, "installed", lambda: case != "not installed")
    if case != "small":
        monkeypatch.setattr(choosing, "SMALL", 0)
    device = "meta" if case == "accelerator" else "cpu"
    chosen = served(
        make_llama().to(device), "fp16" if case == "fp16" else "bf16", device, "torch" if "torch" in case else "auto"
    )
    assert chosen.compiled is None


@here
def test_a_runner_that_is_named_is_taken_whatever_is_faster(make_llama: MakeLlama) -> None:
    assert served(make_llama(), "bf16", runner="openvino").precision == "bf16"
    chosen = served(make_llama(), "auto", runner="openvino")
    assert chosen.precision == "int8"
    assert divergence(probed(make_llama()), chosen) <= MARGIN


@here
def test_by_auto_a_named_runner_computes_float32_where_int8_strays(
    make_llama: MakeLlama, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "int8", 1e-9)
    chosen = served(make_llama(), "auto", runner="openvino")
    assert (chosen.precision, chosen.compiled is None) == ("fp32", False)


@pytest.mark.parametrize(
    ("precision", "device", "installed", "said"),
    [
        ("fp32", "meta", True, "the runner openvino needs the device cpu, it is meta"),
        ("fp32", "cpu", False, r"not installed: pip install 'pandagpt\[openvino\]'"),
        ("fp16", "cpu", True, "the runner openvino has no fp16, only int8, bf16, fp32"),
    ],
)
def test_an_openvino_that_is_named_and_cannot_be_is_said(
    make_llama: MakeLlama, monkeypatch: pytest.MonkeyPatch, precision: Any, device: str, installed: bool, said: str
) -> None:
    monkeypatch.setattr(openvino, "installed", lambda: installed)
    with pytest.raises(ValueError, match=said):
        served(make_llama(), precision, device, "openvino")


@here
def test_the_clock_is_asked_of_both(make_llama: MakeLlama) -> None:
    ways: list[Way] = [*((kind, "torch") for kind in LIMITS), *((kind, "openvino") for kind in LIMITS)]
    taken = autotune.seconds(make_llama(), ways)
    assert list(taken) == ways
    assert min(taken.values()) > 0
