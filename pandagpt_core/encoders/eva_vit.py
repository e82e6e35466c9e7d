"""EVA ViT-g (Fang et al. 2022, EVA) as MiniGPT-v2 reads it: patches of a 448-pixel picture, four tokens joined to one.

The published model has 40 blocks and a head; MiniGPT-v2 (Chen et al. 2023, section 3.1) reads what leaves block 39, by
`ln_vision` and without the class token. Key names are the checkpoint's.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from pandagpt_core.empty_weights import init_empty_weights
from pandagpt_core.encoders.transformer import MLP
from pandagpt_core.errors import CheckpointError, InvalidMedia, UnsupportedModality
from pandagpt_core.llm.quant.linear import Linear
from pandagpt_core.types import Modality

BLOCK_EPS = 1e-6
VISION_EPS = 1e-5  # of `ln_vision`, which is MiniGPT's own
JOINED = 4  # consecutive tokens that make one row of the prompt
RECIPE = "eva-image-v1"


@dataclass(frozen=True, slots=True)
class EvaSizes:
    """Widths and counts; the defaults are EVA ViT-g's, of which 39 blocks are read. `image`, `patch` in pixels."""

    width: int = 1408
    blocks: int = 39
    heads: int = 16
    mlp: int = 6144
    patch: int = 14
    image: int = 448

    def __post_init__(self) -> None:
        if self.width % self.heads or self.image % self.patch or self.patches % JOINED:
            raise CheckpointError(
                f"an EVA ViT needs a width ({self.width}) that its heads ({self.heads}) divide, and a side of "
                f"{self.image} pixels that gives patches of {self.patch} in fours"
            )

    @property
    def patches(self) -> int:
        return (self.image // self.patch) ** 2

    @property
    def rows(self) -> int:
        """Rows of a picture in a prompt."""
        return self.patches // JOINED

    @property
    def row_width(self) -> int:
        return self.width * JOINED

    @classmethod
    def from_config(cls, table: Mapping[str, Any]) -> "EvaSizes":
        """Raises CheckpointError for a name that is no size, or a value that is no positive integer."""
        wrong = [name for name, value in table.items() if name not in cls.__slots__ or not _positive(value)]
        if wrong:
            raise CheckpointError(f"an EVA ViT has no such sizes: {', '.join(sorted(wrong))}")
        return cls(**table)

    def to_config(self) -> dict[str, int]:
        return asdict(self)


class EvaAttention(nn.Module):
    """Multi-head self-attention; queries and values have a bias, keys have none."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.empty(width))
        self.v_bias = nn.Parameter(torch.empty(width))
        self.proj = Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)  # [N, T, D] each
        q, v = q + self.q_bias.to(q.dtype), v + self.v_bias.to(v.dtype)
        mixed = F.scaled_dot_product_attention(self._split(q), self._split(k), self._split(v))
        projected: torch.Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return projected

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)  # [N, H, T, D / H]


class EvaBlock(nn.Module):
    """Pre-norm; `inner` is the element type between its products, None keeps the input's."""

    def __init__(self, sizes: EvaSizes) -> None:
        super().__init__()
        self.inner: torch.dtype | None = None
        self.norm1 = nn.LayerNorm(sizes.width, eps=BLOCK_EPS)
        self.attn = EvaAttention(sizes.width, sizes.heads)
        self.norm2 = nn.LayerNorm(sizes.width, eps=BLOCK_EPS)
        self.mlp = MLP(sizes.width, sizes.mlp)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self._within(self.norm1(x)))
        update: torch.Tensor = self.mlp(self._within(self.norm2(x)))
        return x + update

    def _within(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.inner is None else x.to(self.inner)

    def products(self) -> list[nn.Parameter]:
        """The matrices and biases of its products, which may be of another precision than the rest."""
        layers = (self.attn.qkv, self.attn.proj, self.mlp.fc1, self.mlp.fc2)
        return [parameter for layer in layers for parameter in layer.parameters()]


class PatchEmbed(nn.Module):
    def __init__(self, sizes: EvaSizes) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, sizes.width, sizes.patch, sizes.patch)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        patches: torch.Tensor = self.proj(pictures)
        return patches.flatten(2).transpose(1, 2)  # [N, P, D], row by row


class EvaVit(nn.Module):
    """Built on the meta device unless `device` is given; `checkpoints.load_module` gives it its weights."""

    def __init__(self, sizes: EvaSizes, device: str | torch.device = "meta") -> None:
        super().__init__()
        self.sizes = sizes
        self.rows, self.dim = sizes.rows, sizes.row_width
        self.recipes: Mapping[Modality, str] = {Modality.IMAGE: RECIPE}
        with init_empty_weights() if device == "meta" else torch.device(device):
            self.patch_embed = PatchEmbed(sizes)
            self.cls_token = nn.Parameter(torch.empty(1, 1, sizes.width))
            self.pos_embed = nn.Parameter(torch.empty(1, 1 + sizes.patches, sizes.width))
            self.blocks = nn.ModuleList(EvaBlock(sizes) for _ in range(sizes.blocks))
            self.ln_vision = nn.LayerNorm(sizes.width, eps=VISION_EPS)
        self.eval()
        self.requires_grad_(False)

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """[N, 3, S, S] to what leaves the last block, [N, 1 + P, D], the class token first."""
        x: torch.Tensor = self.patch_embed(pictures.to(self.cls_token.dtype))
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x

    @torch.inference_mode()
    def encode(self, modality: Modality, clips: torch.Tensor) -> torch.Tensor:
        """[N, 3, S, S] pictures in, [N, P / 4, 4 D] float32 rows out: strips of four neighbours, row by row.

        Raises UnsupportedModality for another medium and InvalidMedia for another shape.
        """
        side = self.sizes.image
        if modality not in self.recipes:
            raise UnsupportedModality(f"the model has no tower for {modality}")
        if tuple(clips.shape[1:]) != (3, side, side):
            raise InvalidMedia(f"a picture has shape {tuple(clips.shape[1:])}, the encoder takes (3, {side}, {side})")
        normed: torch.Tensor = self.ln_vision(self.features(clips).float())
        return normed[:, 1:].reshape(len(clips), self.rows, self.dim)


def interpolate_positions(positions: torch.Tensor, patches: int) -> torch.Tensor:
    """[1, 1 + s * s, D] learned for s x s patches, to [1, 1 + patches, D]: bicubic, the class token's kept.

    Raises CheckpointError where either is no square.
    """
    old, new = _side(positions.shape[1] - 1), _side(patches)
    if old == new:
        return positions
    grid = positions[:, 1:].float().view(1, old, old, -1).permute(0, 3, 1, 2)  # [1, D, s, s]
    grid = F.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :1], grid.permute(0, 2, 3, 1).flatten(1, 2).to(positions.dtype)], dim=1)


def _side(patches: int) -> int:
    side = math.isqrt(max(0, patches))
    if side < 1 or side * side != patches:
        raise CheckpointError(f"{patches} patches make no square")
    return side


def _positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
