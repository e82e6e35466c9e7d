"""The functions between a layer's products: in float32 on a CPU, in 16 bits at its ends on a device."""

from dataclasses import replace

import pytest
import torch

from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.pointwise import EAGER, fitting
from pandagpt_core.llm.quant.linear import Precision
from pandagpt_core.llm.torch_backend import products_dtype, serve


@pytest.fixture(params=[False, True], ids=["llama", "qwen3"])
def config(request: pytest.FixtureRequest) -> LlamaConfig:
    sizes = LlamaConfig(vocab=32, width=32, layers=1, heads=4, kv_heads=2, head_dim=8, ffn=48)
    return replace(sizes, head_norms=request.param)


def test_a_cpu_computes_them_as_they_are(config: LlamaConfig) -> None:
    assert fitting(config, torch.float32, torch.device("cpu")) is EAGER
    assert products_dtype("bf16", "cpu") == torch.float32


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("int8", torch.float32)])
def test_products_of_16_bits_read_and_write_them_on_a_device(precision: Precision, dtype: torch.dtype) -> None:
    assert products_dtype(precision, "cuda") == dtype


def test_products_that_write_16_bits_change_little(config: LlamaConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA device's computing, on this device."""
    torch.manual_seed(0)
    embeds = torch.randn(1, 7, config.width)
    llms = [Llama(config) for _ in range(2)]
    llms[1].load_state_dict(llms[0].state_dict())
    here = serve(llms[0], "bf16")
    monkeypatch.setattr("pandagpt_core.llm.torch_backend.products_dtype", lambda *_: torch.bfloat16)
    there = serve(llms[1], "bf16")
    assert {layer.dtype for layer in there.llm.model.layers} == {torch.bfloat16}
    with torch.inference_mode():
        one, other = here(embeds), there(embeds)
    assert not torch.equal(one, other)
    torch.testing.assert_close(one, other, atol=0.05, rtol=0.05)


@pytest.mark.gpu
def test_a_gpu_has_them_compiled(config: LlamaConfig) -> None:
    assert fitting(config, torch.bfloat16, torch.device("cuda")) is not EAGER
