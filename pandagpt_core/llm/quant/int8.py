"""Matrix products in int8: weights with a scale an output row, activations rounded as they come, a scale a row.

Two kernels, one arithmetic: fbgemm's on x86 processors, torch's `_int_mm` elsewhere. Sums are whole numbers, so a
row's answer does not depend on its neighbours.

fbgemm without VNNI adds pairs of products in 16 bits, which saturate where activations have eight bits: the answers are
wrong, not imprecise. A probe finds this by products of known sums. On such a kernel activations are rounded to seven
bits, whose pairs fit, and the remainder goes through the same product as a second row (`fine`).
"""

import functools
import warnings
from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 127  # of a weight or an activation, either side of zero
PAIRED = 63  # of an activation where sums of two products have 16 bits: 2 * 127 * 127 fits
CAPABILITY = (7, 5)  # of the first CUDA devices with such units
MULTIPLE = 8  # of both widths, which `_int_mm` needs on CUDA
LEAST_ROWS = 32  # given to the kernel; it needs more than 16. The weights are read once all the same
PROBE = 64  # inputs and outputs of the probed product: more than a vector register holds


class Product(Protocol):
    """Rows [N, in], whole numbers or not, none beyond `levels`, to [N, out] float32: the rounded rows times the
    weights."""

    levels: int

    def __call__(self, steps: Tensor) -> Tensor: ...


class Int8Linear(nn.Module):
    """y = W x + b. [..., in] float32 in, [..., out] float32 out; the bias [out] is added in float32.

    Each row is scaled to whole steps before the kernel rounds it with a step of 1, so that one with an infinity or NaN
    spoils nothing but itself.

    fine: the remainder of a row's rounding goes through the same product as a second row, which makes 16 bits of 8, for
    activations with outliers that leave the rest no steps. The weights are read once all the same. It is always so
    where the kernel takes fewer than eight bits.

    Raises ValueError where no kernel computes exactly.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        fine: bool = False,
        device: str | torch.device = "cpu",
        product: Callable[[Tensor], Product] | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("bias", None if bias is None else bias.detach().to(device).float())
        self.out_features, self.in_features = weight.shape
        self._product = (product or kernel(device))(weight)
        self.fine = fine or self._product.levels < LEVELS

    def forward(self, input: Tensor) -> Tensor:
        rows = input.reshape(-1, self.in_features)
        step = rows.abs().amax(dim=-1, keepdim=True).clamp_min_(1e-12).mul_(1 / self._product.levels)  # [N, 1]
        whole = rows / step
        joined = (self._refined(whole) if self.fine else self._product(whole)).mul_(step)
        if self.bias is not None:
            joined.add_(self.get_buffer("bias"))
        return joined.view(*input.shape[:-1], self.out_features)

    def _refined(self, whole: Tensor) -> Tensor:
        coarse, levels = whole.round(), self._product.levels
        product = self._product(torch.cat((coarse, (whole - coarse).mul_(2 * levels))))
        return torch.add(product[: len(whole)], product[len(whole) :], alpha=0.5 / levels)


class Fbgemm:
    """On x86 processors. The kernel rounds and scales by itself, and takes activations as unsigned numbers."""

    def __init__(self, weight: Tensor, levels: int = LEVELS) -> None:
        self.levels = levels
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
            steps, 1.0, self.levels + 1, self._packed
        )
        return product


class WholeNumbers:
    """By torch's product of int8 matrices, which is there on CUDA and, slower, on a CPU."""

    levels = LEVELS

    def __init__(self, weight: Tensor, device: str | torch.device = "cpu") -> None:
        if weight.shape[0] % MULTIPLE or weight.shape[1] % MULTIPLE:
            raise ValueError(f"these int8 products need widths of whole {MULTIPLE}s, they are {tuple(weight.shape)}")
        weight = weight.detach().to(device).float()
        scale = _scale(weight)
        self._whole = (weight / scale[:, None]).round().to(torch.int8)  # [out, in]
        self._scale = scale

    def __call__(self, steps: Tensor) -> Tensor:
        whole = F.pad(steps.round().to(torch.int8), (0, 0, 0, max(0, LEAST_ROWS - len(steps))))
        return torch._int_mm(whole, self._whole.t())[: len(steps)] * self._scale


def _paired(weight: Tensor) -> Fbgemm:
    return Fbgemm(weight, PAIRED)


Kernels = tuple[Callable[[Tensor], Product], ...]
CPU_KERNELS: Kernels = (Fbgemm, _paired, WholeNumbers)  # the fastest first


def kernel(device: str | torch.device, kernels: Kernels = CPU_KERNELS) -> Callable[[Tensor], Product]:
    """The kernel for a weight [out, in] on that device. Raises ValueError where none is exact."""
    if not int8_runs(device, kernels):
        raise ValueError(f"int8 products need a kernel that computes exactly, {device} has none")
    found = cpu_kernel(kernels) if torch.device(device).type == "cpu" else None
    return found or functools.partial(WholeNumbers, device=device)


@functools.cache
def cpu_kernel(kernels: Kernels = CPU_KERNELS) -> Callable[[Tensor], Product] | None:
    """The first of them that is there and computes exactly."""
    return next((made for made in kernels if is_exact(made)), None)


@torch.inference_mode()
def is_exact(made: Callable[[Tensor], Product]) -> bool:
    """Whether a kernel gives the sums of products of the largest and of mixed numbers, and is there at all.

    Rows of the largest numbers of one sign are those whose pairs leave 16 bits first.
    """
    chance = torch.Generator().manual_seed(0)
    weight = torch.randint(-LEVELS, LEVELS + 1, (PROBE, PROBE), generator=chance).float()
    weight[:, 0] = LEVELS  # so that a step is 1
    weight[0], weight[1] = LEVELS, -LEVELS
    try:
        product = made(weight)
        rows = torch.randint(-product.levels, product.levels + 1, (4, PROBE), generator=chance).float()
        rows[0], rows[1] = product.levels, -product.levels
        return bool((product(rows) - rows @ weight.t()).abs().max() < 0.5)
    except (RuntimeError, ValueError, NotImplementedError):  # an engine without the operation
        return False


def _scale(weight: Tensor) -> Tensor:
    """[out] steps of the weights [out, in]."""
    return (weight.abs().amax(dim=1) / LEVELS).clamp_min(1e-12)


def int8_runs(device: str | torch.device, kernels: Kernels = CPU_KERNELS) -> bool:
    """Whether one of the kernels is there and exact."""
    kind = torch.device(device)
    if kind.type == "cuda":
        return torch.cuda.is_available() and torch.cuda.get_device_capability(kind) >= CAPABILITY
    return kind.type == "cpu" and cpu_kernel(kernels) is not None
