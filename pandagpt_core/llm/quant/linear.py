"""Matrix products in a chosen precision: fp32, bf16, fp16, or int8 with activations rounded as they come.

With every precision inside, a layer that takes float32 returns float32. The residual stream, the norms and the rotary
rotation stay exact so: keeping those in bf16 as well changed greedy answers, products alone did not. On a CUDA device
values between two products have 16 bits (`torch_backend.products_dtype`); the stream is float32 there too.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pandagpt_core.llm.quant.fp8 import Fp8Linear, fp8_runs
from pandagpt_core.llm.quant.int8 import Int8Linear, int8_runs

Precision = Literal["fp32", "bf16", "fp16", "int8", "fp8"]

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Linear(nn.Linear):
    """y = W x + b, the product in the weight's own precision. [..., in] in, [..., out] of the input's type out."""

    def forward(self, input: Tensor) -> Tensor:
        weight, bias = self.weight, self.bias
        if input.dtype == weight.dtype and (bias is None or bias.dtype == weight.dtype):
            return F.linear(input, weight, bias).to(input.dtype)  # one kernel; under autocast the product is 16 bits
        product = F.linear(input.to(weight.dtype), weight).to(input.dtype)
        return product if bias is None else product + bias


def stacked(layers: Sequence[Linear]) -> Linear:
    """One layer whose output is the given layers' outputs joined: fewer, larger products a step."""
    return with_weight(torch.cat([layer.weight.detach() for layer in layers]), stacked_bias(layers))


def stacked_bias(layers: Sequence[Linear]) -> Tensor | None:
    """The biases [out] float32 of the layers' outputs joined, zeros for a layer without; None where none has any."""
    if all(layer.bias is None for layer in layers):
        return None
    biases = (layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias for layer in layers)
    return torch.cat([bias.detach().float() for bias in biases])


def in_precision(
    layer: Linear, precision: Precision, device: str | torch.device, *, fine: bool = False
) -> Linear | Int8Linear | Fp8Linear:
    """The same layer with its product in another precision, on a device; `fine` is of int8 (`Int8Linear`).

    Raises ValueError for int8 and fp8 where their kernels are not.
    """
    if precision == "fp8":
        if not fp8_runs(device):
            raise ValueError(f"fp8 products need a CUDA device of compute capability 8.9 or more, not {device}")
        return Fp8Linear(layer.weight, device, layer.bias)
    if precision == "int8":
        if not int8_runs(device):
            raise ValueError(
                f"int8 products need an x86 processor or a CUDA device of compute capability 7.5 or more, not {device}"
            )
        return Int8Linear(layer.weight, layer.bias, fine=fine, device=device)
    weight = layer.weight.detach().to(device=device, dtype=DTYPES[precision])
    return with_weight(weight, None if layer.bias is None else layer.bias.detach().to(device))


def with_weight(weight: Tensor, bias: Tensor | None = None) -> Linear:
    """A layer that is not trained. The bias is kept in float32: it is added to a float32 product."""
    layer = Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().float(), requires_grad=False)
    return layer
