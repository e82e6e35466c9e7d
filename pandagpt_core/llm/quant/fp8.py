"""Matrix products in eight-bit floats (Micikevicius et al. 2022): half the bytes of bf16, for GPUs that have them.

Weights have one scale an output row, activations one a token, found as they come; so a row's answer depends on that
row alone. torch's kernel is there on CUDA from compute capability 8.9 on, and on a CPU for tests. It is called without
scales, and both are multiplied in afterwards: at one row of LLaMA-13B's shapes its kernels that scale rows took 1.2 to
1.8 times as long on an H200.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pandagpt_core import compiled

FP8 = torch.float8_e4m3fn  # four bits of exponent, three of mantissa: the format for weights and activations
LARGEST = torch.finfo(FP8).max
MULTIPLE = 16  # of both widths, which the kernel needs
CAPABILITY = (8, 9)


def to_fp8(rows: Tensor) -> tuple[Tensor, Tensor]:
    """[N, D] rows, each scaled to the format's range, and their scales [N, 1] float32."""
    rows = rows.float()
    scale = rows.abs().amax(dim=-1, keepdim=True).clamp_min(1e-12) / LARGEST
    return (rows / scale).clamp(-LARGEST, LARGEST).to(FP8), scale  # rounding may step beyond the range, which is NaN


def rescale(product: Tensor, rows: Tensor, columns: Tensor, dtype: torch.dtype) -> Tensor:
    """A product [N, out] of scaled rows and columns, whose scales are [N, 1] and [1, out], in an element type."""
    return (product.float() * rows * columns).to(dtype)


@dataclass(frozen=True, slots=True)
class Rounding:
    """The functions before and after the product, as they are or compiled."""

    to_fp8: Callable[[Tensor], tuple[Tensor, Tensor]] = to_fp8
    rescale: Callable[[Tensor, Tensor, Tensor, torch.dtype], Tensor] = rescale


EAGER = Rounding()


class Fp8Linear(nn.Module):
    """y = W x + b. [..., in] float32 or 16 bits in, [..., out] of the same type out."""

    def __init__(self, weight: Tensor, device: str | torch.device, bias: Tensor | None = None) -> None:
        super().__init__()
        self.rounding = EAGER
        self.register_buffer("bias", None if bias is None else bias.detach().to(device).float())
        self.out_features, self.in_features = weight.shape
        if self.out_features % MULTIPLE or self.in_features % MULTIPLE:
            raise ValueError(f"fp8 products need widths of whole {MULTIPLE}s, they are {tuple(weight.shape)}")
        rounded, scale = to_fp8(weight.detach().to(device).float())
        self.register_buffer("weight", rounded)
        self.register_buffer("scale", scale.t().contiguous())  # [1, out]
        self.register_buffer("unscaled", torch.ones((), device=device))

    def forward(self, input: Tensor) -> Tensor:
        rounded, scale = self.rounding.to_fp8(input.reshape(-1, self.in_features))
        weight, one = self.get_buffer("weight").t(), self.get_buffer("unscaled")
        product: Tensor = torch._scaled_mm(rounded, weight, one, one, out_dtype=torch.bfloat16)
        scaled = self.rounding.rescale(product, scale, self.get_buffer("scale"), input.dtype)
        out = scaled.view(*input.shape[:-1], self.out_features)
        return out if self.bias is None else out + self.get_buffer("bias")


def compile_rounding(model: nn.Module, device: torch.device) -> None:
    """One kernel before and one after each of a model's products, on a device that gains by it."""
    made = compiled.fitting(EAGER, probe(device), device)
    for module in model.modules():
        if isinstance(module, Fp8Linear):
            module.rounding = made


def probe(device: torch.device) -> compiled.Probe[Rounding]:
    def results(made: Rounding, rows: int) -> list[Tensor]:
        chance = torch.Generator().manual_seed(rows)
        given = torch.randn(rows, 64, generator=chance).to(device, torch.bfloat16)
        product = torch.randn(rows, 32, generator=chance).to(device, torch.bfloat16)
        rounded, scale = made.to_fp8(given)
        near = (rounded.float() * scale - given).abs() <= given.abs() / 2**4 + scale  # a tie may round either way
        return [near, scale, made.rescale(product, scale, torch.ones(1, 32, device=device), torch.bfloat16)]

    return results


def fp8_runs(device: str | torch.device) -> bool:
    """Whether the kernel is there."""
    kind = torch.device(device)
    return kind.type == "cpu" or (kind.type == "cuda" and torch.cuda.get_device_capability(kind) >= CAPABILITY)
