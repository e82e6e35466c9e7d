"""Matrix products in a chosen precision: fp32, bf16, fp16, or int8 with activations rounded as they come.

Whatever the precision inside, a layer takes and answers float32, so that the residual stream, the norms and the
rotary rotation stay exact: keeping those in bf16 as well changed greedy answers, products alone did not.
"""

import warnings
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from pandagpt_core.llm.fp8 import Fp8Linear, fp8_runs

Precision = Literal["fp32", "bf16", "fp16", "int8", "fp8"]

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Linear(nn.Linear):
    """y = W x + b computed in the weight's own precision. [..., in] float32 in, [..., out] float32 out."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.to(self.weight.dtype)).to(input.dtype)


LEVELS = 127  # of an int8 activation, either side of zero
ZERO_POINT = 128  # of the kernel's unsigned activations


class Int8Linear(nn.Module):
    """y = W x with int8 weights, one scale an output row, and int8 activations, one scale a row. x86 processors only.

    Each row is scaled to whole steps before fbgemm's kernel rounds it with a step of 1, so that a row's answer does not
    depend on its neighbours, and one with an infinity or NaN spoils nothing but itself.

    fine: what a row loses by rounding goes through the same product as a second row, which makes 16 bits of 8, for
    activations with outliers that leave the rest no steps. The weights are read once all the same.
    """

    def __init__(self, weight: Tensor, *, fine: bool = False) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.fine = fine
        self.packed = _pack(weight)

    def forward(self, input: Tensor) -> Tensor:
        rows = input.reshape(-1, self.in_features)
        step = rows.abs().amax(dim=-1, keepdim=True).clamp_min_(1e-12).mul_(1 / LEVELS)  # [N, 1]
        whole = rows / step
        joined = (self._refined(whole) if self.fine else self._product(whole)).mul_(step)
        return joined.view(*input.shape[:-1], self.out_features)

    def _refined(self, whole: Tensor) -> Tensor:
        coarse = whole.round()
        product = self._product(torch.cat((coarse, (whole - coarse).mul_(2 * LEVELS))))
        return torch.add(product[: len(whole)], product[len(whole) :], alpha=0.5 / LEVELS)

    def _product(self, steps: Tensor) -> Tensor:
        product: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            steps, 1.0, ZERO_POINT, self.packed
        )
        return product


def _pack(weight: Tensor) -> torch.ScriptObject:
    weight = weight.detach().float().cpu()
    scale = (weight.abs().amax(dim=1) / 127).clamp_min(1e-12)
    with warnings.catch_warnings():
        # torch announces that tensors of dtype qint8 will go one day; the kernel takes its weights as nothing else.
        warnings.filterwarnings("ignore", message="torch.quantize_per_tensor", category=UserWarning)
        quantised = torch.quantize_per_channel(weight, scale.double(), torch.zeros(len(scale)).long(), 0, torch.qint8)
    packed: torch.ScriptObject = torch.ops.quantized.linear_prepack(quantised, None)
    return packed


def stacked(layers: Sequence[Linear]) -> Linear:
    """One layer whose output is the given layers' outputs joined: fewer, larger products a step."""
    return with_weight(torch.cat([layer.weight.detach() for layer in layers]))


def int8_runs(device: str | torch.device) -> bool:
    """Whether the int8 kernel is there: fbgemm's, on x86 processors."""
    return torch.device(device).type == "cpu" and torch.backends.quantized.engine in ("fbgemm", "x86")


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
            raise ValueError(f"int8 products run on x86 processors only, not on {device} here")
        return Int8Linear(layer.weight, fine=fine)
    weight = layer.weight.detach().to(device=device, dtype=DTYPES[precision])
    return with_weight(weight)


def with_weight(weight: Tensor) -> Linear:
    layer = Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer
