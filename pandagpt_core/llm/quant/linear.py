"""Matrix products in a chosen precision: fp32, bf16, fp16, or int8 with activations rounded as they come.

Whatever the precision inside, a layer takes and answers float32, so that the residual stream, the norms and the
rotary rotation stay exact: keeping those in bf16 as well changed greedy answers, products alone did not.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from pandagpt_core.llm.quant.fp8 import Fp8Linear, fp8_runs
from pandagpt_core.llm.quant.int8 import Int8Linear, int8_runs

Precision = Literal["fp32", "bf16", "fp16", "int8", "fp8"]

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Linear(nn.Linear):
    """y = W x + b computed in the weight's own precision. [..., in] float32 in, [..., out] float32 out."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.to(self.weight.dtype)).to(input.dtype)


def stacked(layers: Sequence[Linear]) -> Linear:
    """One layer whose output is the given layers' outputs joined: fewer, larger products a step."""
    return with_weight(torch.cat([layer.weight.detach() for layer in layers]))


def in_precision(
    layer: Linear, precision: Precision, device: str | torch.device, *, fine: bool = False
) -> Linear | Int8Linear | Fp8Linear:
    """The same layer with its product in another precision, on a device; `fine` is of int8 (`Int8Linear`).

    Raises ValueError for int8 and fp8 where their kernels are not.
    """
    if precision == "fp8":
        if not fp8_runs(device):
            raise ValueError(f"fp8 products need a CUDA device of compute capability 8.9 or more, not {device}")
        return Fp8Linear(layer.weight, device)
    if precision == "int8":
        if not int8_runs(device):
            raise ValueError(
                f"int8 products need an x86 processor or a CUDA device of compute capability 7.5 or more, not {device}"
            )
        return Int8Linear(layer.weight, fine=fine, device=device)
    weight = layer.weight.detach().to(device=device, dtype=DTYPES[precision])
    return with_weight(weight)


def with_weight(weight: Tensor) -> Linear:
    layer = Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer
