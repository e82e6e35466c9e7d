"""Matrix products in each precision."""

import pytest
import torch

from pandagpt_core.llm.quant.linear import Linear, in_precision, stacked


@pytest.fixture
def layer() -> Linear:
    torch.manual_seed(0)
    return Linear(64, 48, bias=False).requires_grad_(False)


def test_stacked_layers_answer_as_the_layers_one_by_one(layer: Linear) -> None:
    other, x = Linear(64, 16, bias=False), torch.randn(3, 64)
    joined = stacked([layer, other])(x)
    assert torch.allclose(joined, torch.cat((layer(x), other(x)), dim=-1), atol=1e-6)


@pytest.mark.parametrize("first", [False, True])
def test_stacked_layers_keep_each_bias(first: bool) -> None:
    layers = [Linear(64, 48, bias=first), Linear(64, 16, bias=True)]
    joined, x = stacked(layers), torch.randn(3, 64)
    assert torch.allclose(joined(x), torch.cat([layer(x) for layer in layers], dim=-1), atol=1e-6)


@pytest.mark.parametrize(("precision", "limit"), [("bf16", 0.01), ("fp16", 0.002), ("int8", 0.01), ("fp8", 0.05)])
def test_a_bias_is_added_in_float32_whatever_the_precision(precision: str, limit: float) -> None:
    layer, x = Linear(64, 48, bias=True).requires_grad_(False), torch.randn(5, 64)
    layer.bias += 1000.001
    cast = in_precision(layer, precision, "cpu")  # type: ignore[arg-type]  # the parameter is a plain string
    product = layer(x) - layer.bias
    assert (cast(x) - layer.bias - product).norm() / product.norm() < limit


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16", "int8"])
def test_every_precision_takes_and_answers_float32(layer: Linear, precision: str) -> None:
    cast = in_precision(layer, precision, "cpu")  # type: ignore[arg-type]  # the parameter is a plain string
    assert cast(torch.randn(2, 64)).dtype == torch.float32


def test_int8_is_refused_where_it_cannot_run(layer: Linear) -> None:
    with pytest.raises(ValueError, match=r"int8 products need an x86 processor or a CUDA device .* not meta"):
        in_precision(layer, "int8", "meta")
