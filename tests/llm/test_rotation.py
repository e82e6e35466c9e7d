"""The change of basis that int8 works in."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from pandagpt_core.llm.config import ATTENTION, FEED_FORWARD, LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.rotation import rotate_weights, spread, spreading
from pandagpt_core.llm.torch_backend import serve


@pytest.mark.parametrize("width", [1, 8, 15, 48, 64])
def test_a_basis_is_orthogonal_and_the_same_at_every_call(width: int) -> None:
    basis = spread(width)
    assert torch.allclose(basis.T @ basis, torch.eye(width), atol=1e-6)
    assert torch.equal(basis, spread(width))


@pytest.mark.parametrize("width", [64, 576])
def test_one_component_that_stands_out_is_spread_over_all(width: int) -> None:
    row = torch.zeros(width)
    row[3] = 100.0
    turned = row @ spread(width)
    assert turned.abs().max() / turned.square().mean().sqrt() < 4  # it was the root of the width


@pytest.mark.parametrize("biases", [(), ATTENTION + FEED_FORWARD], ids=["plain", "biases"])
def test_a_model_in_another_basis_answers_the_same(
    make_llama: Callable[..., Llama], tiny_config: LlamaConfig, biases: tuple[str, ...]
) -> None:
    llama, ids = make_llama(replace(tiny_config, biases=frozenset(biases))), torch.arange(24).view(2, 12)
    bias = torch.randn(2, tiny_config.layers, tiny_config.width)
    expected = llama(llama.embed(ids), layer_bias=bias)
    basis = spreading(tiny_config.width, tiny_config.head_dim)
    rotate_weights(llama, basis)
    rotated = serve(llama, "fp32")
    rotated.stream = basis.stream
    found = rotated(llama.embed(ids), layer_bias=bias)
    assert torch.allclose(found, expected, atol=1e-3 * float(expected.abs().max()))
    assert llama.model.layers[0].input_layernorm.weight is None
