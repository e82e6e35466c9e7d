"""The transformer that all of ImageBind's towers share: pre-norm blocks of attention and an exact-GELU MLP."""

import torch
import torch.nn.functional as F
from torch import nn

from pandagpt_core.llm.quant.linear import Linear

EPS = 1e-6  # of every LayerNorm but those of the stems
MLP_RATIO = 4


class Attention(nn.Module):
    """Multi-head self-attention, its three projections in one matrix.

    With `extra_token`, each sequence has one learned key and value behind its own (`bias_k`, `bias_v`, not projected).
    """

    def __init__(self, width: int, heads: int, extra_token: bool) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.bias_k = nn.Parameter(torch.empty(1, 1, width)) if extra_token else None
        self.bias_v = nn.Parameter(torch.empty(1, 1, width)) if extra_token else None
        self.out_proj = Linear(width, width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        joined = F.linear(x.to(self.in_proj_weight.dtype), self.in_proj_weight, self.in_proj_bias).to(x.dtype)
        q, k, v = joined.chunk(3, dim=-1)  # [N, T, D] each
        if self.bias_k is not None and self.bias_v is not None:
            k = torch.cat([k, self.bias_k.to(k.dtype).expand(len(x), -1, -1)], dim=1)  # [N, T + 1, D]
            v = torch.cat([v, self.bias_v.to(v.dtype).expand(len(x), -1, -1)], dim=1)
        mask = None if mask is None else mask.to(q.dtype)
        mixed = F.scaled_dot_product_attention(self._split(q), self._split(k), self._split(v), attn_mask=mask)
        projected: torch.Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return projected

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)  # [N, H, T, D / H]


class MLP(nn.Module):
    """`width` to `inner` and back, through the exact (erf) GELU."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = Linear(width, inner)
        self.fc2 = Linear(inner, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        projected: torch.Tensor = self.fc2(F.gelu(self.fc1(x)))
        return projected


class Block(nn.Module):
    """Attention, then MLP, each added to its input and each normalising what it reads.

    `inner` is the element type of what goes on inside of both, between their products; None keeps the input's. The sums
    and the norms are of the input's either way.
    """

    def __init__(self, width: int, heads: int, extra_token: bool) -> None:
        super().__init__()
        self.inner: torch.dtype | None = None
        self.attn = Attention(width, heads, extra_token)
        self.norm_1 = nn.LayerNorm(width, eps=EPS)
        self.mlp = MLP(width, MLP_RATIO * width)
        self.norm_2 = nn.LayerNorm(width, eps=EPS)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        attended: torch.Tensor = self.attn(self._within(self.norm_1(x)), mask)
        x = x + attended
        update: torch.Tensor = self.mlp(self._within(self.norm_2(x)))
        return x + update

    def _within(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.inner is None else x.to(self.inner)

    def products(self) -> list[nn.Parameter]:
        """The matrices and biases of its products, which may be of another precision than the rest."""
        layers = (self.attn.out_proj, self.mlp.fc1, self.mlp.fc2)
        return [self.attn.in_proj_weight, self.attn.in_proj_bias, *(p for layer in layers for p in layer.parameters())]


class Trunk(nn.Module):
    """`blocks` blocks; with `norm_first`, a LayerNorm in front of them (vision alone has one).

    For inference: the original's drop path, which acts in training only, is left out.
    """

    def __init__(self, width: int, blocks: int, heads: int, *, extra_token: bool, norm_first: bool) -> None:
        super().__init__()
        self.pre_transformer_layer = nn.Sequential(*[nn.LayerNorm(width, eps=EPS)] * norm_first)
        self.blocks = nn.ModuleList(Block(width, heads, extra_token) for _ in range(blocks))

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """[N, T, D] to [N, T, D]; `mask` [T, T] is added to the attention scores."""
        x = self.pre_transformer_layer(x)
        for block in self.blocks:
            x = block(x, mask)
        return x
