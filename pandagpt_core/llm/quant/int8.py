"""Matrix products in int8: weights with a scale an output row, activations rounded as they come, a scale a row.

Two kernels, one arithmetic: fbgemm's on x86 processors, torch's `_int_mm` on CUDA devices with integer matrix units.
Sums are whole numbers, so a row's answer does not depend on its neighbours.
"""

import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 127  # of a weight or an activation, either side of zero
ZERO_POINT = 128  # of fbgemm's unsigned activations
CAPABILITY = (7, 5)  # of the first CUDA devices with such units
MULTIPLE = 8  # of both widths, which `_int_mm` asks for on CUDA
LEAST_ROWS = 32  # that it is given; it asks for more than 16. The weights are read once all the same

Product = Callable[[Tensor], Tensor]
"""Rows [N, in], whole numbers or not, none beyond LEVELS, to [N, out] float32: the rounded rows times the weights."""


class Int8Linear(nn.Module):
    """y = W x + b. [..., in] float32 in, [..., out] float32 out; the bias [out] is added in float32.

    Each row is scaled to whole steps before the kernel rounds it with a step of 1, so that one with an infinity or NaN
    spoils nothing but itself.

    fine: what a row loses by rounding goes through the same product as a second row, which makes 16 bits of 8, for
    activations with outliers that leave the rest no steps. The weights are read once all the same.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None = None, *, fine: bool = False, device: str | torch.device = "cpu"
    ) -> None:
        super().__init__()
        self.register_buffer("bias", None if bias is None else bias.detach().to(device).float())
        self.out_features, self.in_features = weight.shape
        self.fine = fine
        on_cpu = torch.device(device).type == "cpu"
        self._product: Product = Fbgemm(weight) if on_cpu else WholeNumbers(weight, device)

    def forward(self, input: Tensor) -> Tensor:
        rows = input.reshape(-1, self.in_features)
        step = rows.abs().amax(dim=-1, keepdim=True).clamp_min_(1e-12).mul_(1 / LEVELS)  # [N, 1]
        whole = rows / step
        joined = (self._refined(whole) if self.fine else self._product(whole)).mul_(step)
        if self.bias is not None:
            joined.add_(self.get_buffer("bias"))
        return joined.view(*input.shape[:-1], self.out_features)

    def _refined(self, whole: Tensor) -> Tensor:
        coarse = whole.round()
        product = self._product(torch.cat((coarse, (whole - coarse).mul_(2 * LEVELS))))
        return torch.add(product[: len(whole)], product[len(whole) :], alpha=0.5 / LEVELS)


class Fbgemm:
    """On x86 processors. The kernel rounds and scales by itself."""

    def __init__(self, weight: Tensor) -> None:
        weight = weight.detach().float().cpu()
        scale = _scale(weight)
        with warnings.catch_warnings():
            # torch announces that tensors of dtype qint8 will go one day; the kernel takes its weights as nothing else.
            warnings.filterwarnings("ignore", message="torch.quantize_per_tensor", category=UserWarning)
            zeros = torch.zeros(len(scale)).long()
            quantised = torch.quantize_per_channel(weight, scale.double(), zeros, 0, torch.qint8)
        self._packed: torch.ScriptObject = torch.ops.quantized.linear_prepack(quantised, None)

    def __call__(self, steps: Tensor) -> Tensor:
        product: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            steps, 1.0, ZERO_POINT, self._packed
        )
        return product


class WholeNumbers:
    """By torch's product of int8 matrices, which is there on CUDA and, slower, on a CPU."""

    def __init__(self, weight: Tensor, device: str | torch.device) -> None:
        if weight.shape[0] % MULTIPLE or weight.shape[1] % MULTIPLE:
            raise ValueError(f"int8 products on a GPU need widths of whole {MULTIPLE}s, they are {tuple(weight.shape)}")
        weight = weight.detach().to(device).float()
        scale = _scale(weight)
        self._whole = (weight / scale[:, None]).round().to(torch.int8)  # [out, in]
        self._scale = scale

    def __call__(self, steps: Tensor) -> Tensor:
        whole = F.pad(steps.round().to(torch.int8), (0, 0, 0, max(0, LEAST_ROWS - len(steps))))
        return torch._int_mm(whole, self._whole.t())[: len(steps)] * self._scale


def _scale(weight: Tensor) -> Tensor:
    """[out] steps of the weights [out, in]."""
    return (weight.abs().amax(dim=1) / LEVELS).clamp_min(1e-12)


def int8_runs(device: str | torch.device) -> bool:
    """Whether one of the kernels is there."""
    kind = torch.device(device)
    if kind.type == "cuda":
        return torch.cuda.is_available() and torch.cuda.get_device_capability(kind) >= CAPABILITY
    return kind.type == "cpu" and torch.backends.quantized.engine in ("fbgemm", "x86")
