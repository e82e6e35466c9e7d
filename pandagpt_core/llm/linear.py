"""Matrix products in a chosen precision: fp32, bf16, fp16, or int8 with activations quantised as they come.

Whatever the precision inside, a layer takes and answers float32, so that the residual stream, the norms and the
rotary rotation stay exact: keeping those in bf16 as well changed greedy answers, products alone did not.
"""

import warnings
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["fp32", "bf16", "fp16", "int8"]

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Linear(nn.Linear):
    """y = W x + b computed in the weight's own precision. [..., in] float32 in, [..., out] float32 out."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.to(self.weight.dtype)).to(input.dtype)


LEVELS = 127  # of an int8 activation, either side of zero


class Int8Linear(nn.Module):
    """y = W x with int8 weights, one scale an output row, and activations of 16 bits in two int8 rows. CPU only.

    The kernel (fbgemm's dynamic linear) finds one range for the whole batch, which would make a request's answer
    depend on its neighbours. So each row is scaled to whole steps, and an extra row pins the range to where a step
    is 1: the range is then the same for every batch, and a row with an infinity or NaN spoils nothing but itself.
    What a row loses by rounding goes through the same product as a second row: the weights are read once, and eight
    bits alone lose what outliers among the activations leave no steps for.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.packed = _pack(weight)
        self._pin = torch.zeros(1, self.in_features)
        self._pin[0, 0], self._pin[0, -1] = LEVELS + 0.5, -LEVELS - 0.5

    def forward(self, input: Tensor) -> Tensor:
        rows = input.reshape(-1, self.in_features)
        step = rows.abs().amax(dim=-1, keepdim=True).clamp_min_(1e-12).div_(LEVELS)  # [N, 1]
        exact = rows / step
        coarse = exact.round()
        fine = (exact - coarse).mul_(2 * LEVELS)
        product: Tensor = torch.ops.quantized.linear_dynamic(torch.cat((coarse, fine, self._pin)), self.packed)
        joined = torch.add(product[: len(rows)], product[len(rows) : -1], alpha=0.5 / LEVELS).mul_(step)
        return joined.view(*input.shape[:-1], self.out_features)


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
    weight = torch.cat([layer.weight.detach() for layer in layers])
    joined = Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    joined.weight = nn.Parameter(weight, requires_grad=False)
    return joined


def in_precision(layer: Linear, precision: Precision, device: str | torch.device) -> Linear | Int8Linear:
    """The same layer with its product in another precision, on a device. Raises ValueError for int8 off the CPU."""
    if precision == "int8":
        if torch.device(device).type != "cpu":
            raise ValueError(f"int8 products run on the CPU only, not on {device}")
        return Int8Linear(layer.weight)
    weight = layer.weight.detach().to(device=device, dtype=DTYPES[precision])
    cast = Linear(layer.in_features, layer.out_features, bias=False, device="meta")
    cast.weight = nn.Parameter(weight, requires_grad=False)
    return cast
