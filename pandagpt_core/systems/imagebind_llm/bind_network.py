"""The bind network (ImageBind-LLM, section 3.2): ImageBind's feature to one vector in the language model's width.

A linear layer, then three gated feed-forward blocks (SwiGLU, Shazeer 2020), each added to its input and normalising
what it reads. The norms' eps is the network's own, not the language model's.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from pandagpt_core.llm.quant.linear import Linear

BLOCKS = 3
EPS = 1e-6


class BindBlock(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=EPS)
        self.gate_proj = Linear(width, hidden, bias=False)
        self.up_proj = Linear(width, hidden, bias=False)
        self.down_proj = Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        normed = self.norm(x)
        out: Tensor = x + self.down_proj(F.silu(self.gate_proj(normed)) * self.up_proj(normed))
        return out


class BindNetwork(nn.Module):
    def __init__(self, features: int, width: int, hidden: int) -> None:
        super().__init__()
        self.proj = Linear(features, width)
        self.blocks = nn.ModuleList(BindBlock(width, hidden) for _ in range(BLOCKS))

    def forward(self, feature: Tensor) -> Tensor:
        """[..., E] to [..., D]."""
        x: Tensor = self.proj(feature)
        for block in self.blocks:
            x = block(x)
        return x
