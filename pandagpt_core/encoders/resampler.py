"""Several soft tokens a medium: learned queries read a tower's tokens before they are pooled.

A Perceiver resampler (Alayrac et al. 2022, "Flamingo", section 3.1): k learned queries attend to a tower's tokens and
to one another, then pass an MLP, in each layer. Each tower has its own, since towers have tokens of their own widths.

The queries' output is added to the medium's one vector, and the last layer begins at zero. So an untrained resampler
gives k times the vector of the paper (Su et al. 2023), and a modality that nothing was trained on keeps what PandaGPT
lives on: its vector lies where that of a picture lies.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pandagpt_core.checkpoints import ResamplerSpec
from pandagpt_core.encoders.base import TokenEncoder, TowerTokens
from pandagpt_core.types import Modality

MLP_RATIO = 4
SPREAD = 0.02  # of first queries


class ResamplerBlock(nn.Module):
    """Queries over tokens and themselves, then an MLP, each added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_queries, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.mixed = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.mlp = nn.Sequential(nn.Linear(width, MLP_RATIO * width), nn.GELU(), nn.Linear(MLP_RATIO * width, width))

    def forward(self, x: Tensor, tokens: Tensor, keep: Tensor | None) -> Tensor:
        """[N, k, D] queries over [N, T, D] tokens, of which those count where `keep` [N, T] is True."""
        normed = self.norm_queries(x)
        key, value = self.key_value(torch.cat([tokens, normed], dim=1)).chunk(2, dim=-1)  # [N, T + k, D] each
        mask = None
        if keep is not None:
            mask = F.pad(keep, (0, x.shape[1]), value=True)[:, None, None, :]  # [N, 1, 1, T + k]
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query(normed), key, value)
        )
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)  # [N, H, k, d]
        x = x + self.mixed(read.transpose(1, 2).flatten(2))
        out: Tensor = x + self.mlp(self.norm_mlp(x))
        return out


class TowerResampler(nn.Module):
    """One tower's: [N, T, W] tokens in, [N, k, E] out."""

    def __init__(self, spec: ResamplerSpec, tokens: int, out: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(nn.init.normal_(torch.empty(spec.count, spec.width), std=SPREAD))
        self.norm_tokens, self.narrow = nn.LayerNorm(tokens), nn.Linear(tokens, spec.width)
        self.blocks = nn.ModuleList(ResamplerBlock(spec.width, spec.heads) for _ in range(spec.layers))
        self.norm, self.out = nn.LayerNorm(spec.width), nn.Linear(spec.width, out)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, tokens: Tensor, keep: Tensor | None) -> Tensor:
        narrowed = self.narrow(self.norm_tokens(tokens.float()))
        x = self.queries.expand(len(tokens), -1, -1)
        for block in self.blocks:
            x = block(x, narrowed, keep)
        out: Tensor = self.out(self.norm(x))
        return out


class PerceiverResampler(nn.Module):
    """Of all towers in `spec`, float32. `out`: E of the shared space."""

    def __init__(self, spec: ResamplerSpec, out: int) -> None:
        super().__init__()
        self.count = spec.count
        self.towers = nn.ModuleDict({name: TowerResampler(spec, width, out) for name, width in spec.towers.items()})

    def forward(self, tower: str, seen: TowerTokens) -> Tensor:
        """[N, k, E] for N clips: the vector of each, and in each row what one query has read."""
        read: Tensor = self.towers[tower](seen.tokens, seen.keep)
        return seen.vectors[:, None] + read


@torch.inference_mode()
def resampled_items(
    encoder: TokenEncoder, resampler: PerceiverResampler, modality: Modality, items: Sequence[np.ndarray], device: str
) -> Tensor:
    """As `encode_items`, [len(items), 1 + k, dim]: the embedding, and behind it the rows of the resampler.

    Both are means over an item's clips, which the queries read one by one.
    """
    seen = encoder.with_tokens(modality, torch.from_numpy(np.concatenate(items)).to(device))
    rows = torch.cat([seen.vectors[:, None], resampler(encoder.tower_of(modality), seen)], dim=1)
    return torch.stack([part.mean(dim=0) for part in torch.split(rows, [len(item) for item in items])])
