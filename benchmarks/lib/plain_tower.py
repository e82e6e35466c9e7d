"""A tower of ImageBind in the plainest torch there is: convolutions, nn.MultiheadAttention, one block after another.

Written from the paper (Girdhar et al. 2023) as something to compare with, in speed and in answers; nothing of
`pandagpt_core.encoders` but its tables of sizes is used.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from pandagpt_core.encoders.sizes import PATCH_TOWERS, ImageBindSizes

CONVOLUTIONS: Mapping[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}


class PlainBlock(nn.Module):
    def __init__(self, width: int, heads: int, extra_token: bool) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.MultiheadAttention(width, heads, add_bias_kv=extra_token, batch_first=True)
        self.norm_2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed = self.norm_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False)[0]
        out: torch.Tensor = x + self.mlp(self.norm_2(x))
        return out


class PlainTower(nn.Module):
    """`vision` or `audio`: [N, *clip] to [N, out], normalised."""

    def __init__(self, sizes: ImageBindSizes, name: str) -> None:
        super().__init__()
        shape, size = PATCH_TOWERS[name], sizes.tower(name)
        kernel = shape.patch[1:]
        stride = (*kernel[: len(kernel) - len(shape.stride)], *shape.stride)
        self.vision = name == "vision"
        self.stem = CONVOLUTIONS[len(kernel)](shape.patch[0], size.width, kernel, stride, bias=False)
        self.stem_norm = nn.LayerNorm(size.width) if shape.normed else nn.Identity()
        self.cls = nn.Parameter(torch.zeros(1, 1, size.width))
        self.positions = nn.Parameter(torch.zeros(1, 1 + shape.grid[0] * shape.grid[1], size.width))
        self.first_norm = nn.LayerNorm(size.width, eps=1e-6) if self.vision else nn.Identity()
        self.blocks = nn.Sequential(
            *(PlainBlock(size.width, size.heads, shape.extra_token) for _ in range(size.blocks))
        )
        self.head_norm = nn.LayerNorm(size.width, eps=1e-6)
        self.head = nn.Linear(size.width, sizes.out, bias=False)
        self.eval()

    @torch.inference_mode()
    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        if self.vision and clips.ndim == 4:
            clips = torch.stack([clips, clips], dim=2)
        patches = self.stem_norm(self.stem(clips).flatten(2).transpose(1, 2))
        x = torch.cat([self.cls.expand(len(patches), -1, -1), patches], dim=1) + self.positions
        x = self.blocks(self.first_norm(x))
        return nn.functional.normalize(self.head(self.head_norm(x[:, 0])), dim=-1)

    @torch.no_grad()
    def copy(self, published: Mapping[str, torch.Tensor], name: str) -> "PlainTower":
        """Take over the weights of a checkpoint with the original's key names."""
        state = self.state_dict()
        for key in state:
            state[key] = published[published_name(key, name)].reshape(state[key].shape)
        self.load_state_dict(state)
        return self


RENAMED = {
    "stem.weight": "modality_preprocessors.{0}.rgbt_stem.proj{1}.weight",
    "stem_norm.weight": "modality_preprocessors.{0}.rgbt_stem.norm_layer.weight",
    "stem_norm.bias": "modality_preprocessors.{0}.rgbt_stem.norm_layer.bias",
    "cls": "modality_preprocessors.{0}.cls_token",
    "positions": "modality_preprocessors.{0}.pos_embedding_helper.pos_embed",
    "first_norm.weight": "modality_trunks.{0}.pre_transformer_layer.0.weight",
    "first_norm.bias": "modality_trunks.{0}.pre_transformer_layer.0.bias",
    "head_norm.weight": "modality_heads.{0}.0.weight",
    "head_norm.bias": "modality_heads.{0}.0.bias",
    "head.weight": "modality_heads.{0}.2.weight",
}


def published_name(key: str, tower: str) -> str:
    """The original's name of one of `PlainTower`'s parameters."""
    if key in RENAMED:
        return RENAMED[key].format(tower, ".1" if tower == "vision" else "")
    renamed = key.replace(".mlp.0.", ".mlp.fc1.").replace(".mlp.2.", ".mlp.fc2.")
    return f"modality_trunks.{tower}.{renamed}"
