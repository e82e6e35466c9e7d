"""Matrix products in eight-bit floats (Micikevicius et al. 2022): half the bytes of bf16, for GPUs that have them.

Weights have one scale an output row, activations one a token, found as they come; so a row's answer depends on that
row alone. torch's kernel is there on CUDA from compute capability 8.9 on, and on a CPU for tests.
"""

import torch
from torch import Tensor, nn

FP8 = torch.float8_e4m3fn  # four bits of exponent, three of mantissa: the format for weights and activations
LARGEST = torch.finfo(FP8).max
MULTIPLE = 16  # of both widths, which the kernel needs
CAPABILITY = (8, 9)


class Fp8Linear(nn.Module):
    """y = W x + b. [..., in] float32 in, [..., out] float32 out."""

    def __init__(self, weight: Tensor, device: str | torch.device, bias: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("bias", None if bias is None else bias.detach().to(device).float())
        self.out_features, self.in_features = weight.shape
        if self.out_features % MULTIPLE or self.in_features % MULTIPLE:
            raise ValueError(f"fp8 products need widths of whole {MULTIPLE}s, they are {tuple(weight.shape)}")
        rounded, scale = to_fp8(weight.detach().to(device).float())
        self.register_buffer("weight", rounded)
        self.register_buffer("scale", scale.t().contiguous())  # [1, out]

    def forward(self, input: Tensor) -> Tensor:
        rounded, scale = to_fp8(input.reshape(-1, self.in_features))
        product: Tensor = torch._scaled_mm(
            rounded, self.get_buffer("weight").t(), scale, self.get_buffer("scale"), out_dtype=torch.bfloat16
        )
        out = product.view(*input.shape[:-1], self.out_features).to(input.dtype)
        return out if self.bias is None else out + self.get_buffer("bias")


def to_fp8(rows: Tensor) -> tuple[Tensor, Tensor]:
    """[N, D] float32 rows, each scaled to the format's range, and their scales [N, 1]."""
    scale = rows.abs().amax(dim=-1, keepdim=True).clamp_min(1e-12) / LARGEST
    return (rows / scale).clamp(-LARGEST, LARGEST).to(FP8), scale  # rounding may step beyond the range, which is NaN


def fp8_runs(device: str | torch.device) -> bool:
    """Whether the kernel is there."""
    kind = torch.device(device)
    return kind.type == "cpu" or (kind.type == "cuda" and torch.cuda.get_device_capability(kind) >= CAPABILITY)
