"""From a modality's array to its tower's tokens: patches, one matrix product, a class token, positions."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from pandagpt_core.encoders.sizes import TEXT_LENGTH, TowerShape
from pandagpt_core.errors import InvalidMedia


def cut(x: torch.Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> torch.Tensor:
    """Patches along the last len(stride) axes of [N, C, ...]: [N, *grid, C, ..., *kernel].

    The remainder at an axis' end is dropped, as a strided convolution does.
    """
    first = x.ndim - len(stride)
    for axis, (size, step) in enumerate(zip(kernel, stride, strict=True), start=first):
        if x.shape[axis] < size:
            raise InvalidMedia(f"an axis of {x.shape[axis]} values is shorter than a patch of {size}")
        x = x.unfold(axis, size, step)
    grid_axes = range(first, first + len(stride))
    return x.movedim(tuple(grid_axes), tuple(range(1, 1 + len(stride))))


class PatchProjection(nn.Module):
    """A strided convolution without bias, as one large matrix product over patches.

    `weight` is [D, *patch], or [D, product of patch] where the original has a linear layer.
    """

    def __init__(self, width: int, shape: TowerShape) -> None:
        super().__init__()
        self.stride = shape.stride
        self.kernel = shape.patch[-len(shape.stride) :]
        self.weight = nn.Parameter(torch.empty(width, *[math.prod(shape.patch)] if shape.linear else shape.patch))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, ...] to [N, *grid, D]."""
        parts = cut(x, self.kernel, self.stride)
        return F.linear(parts.flatten(1 + len(self.stride)), self.weight.flatten(1))


class StillToClip(nn.Module):
    """A still becomes a clip of equal frames; a clip stays as it is."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] or [N, C, T, H, W] to [N, C, T, H, W]."""
        return x if x.ndim == 5 else x.unsqueeze(2).expand(-1, -1, self.frames, -1, -1)


class Stem(nn.Module):
    """The patch projection and, in all towers but vision, a LayerNorm of torch's default eps (1e-5)."""

    def __init__(self, width: int, shape: TowerShape) -> None:
        super().__init__()
        projection = PatchProjection(width, shape)
        self.proj = nn.Sequential(StillToClip(shape.patch[1]), projection) if shape.clip else projection
        self.norm_layer = nn.LayerNorm(width) if shape.normed else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens: torch.Tensor = self.norm_layer(self.proj(x))
        return tokens


class Positions(nn.Module):
    """A table of positions, the class token's first; for a square grid of another size it is interpolated."""

    def __init__(self, width: int, grid: tuple[int, ...]) -> None:
        super().__init__()
        self.grid = grid
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + math.prod(grid), width))

    def forward(self, grid: tuple[int, ...]) -> torch.Tensor:
        """Positions of the class token and of a `grid` of patches, [1, 1 + P, D]."""
        if grid == self.grid:
            return self.pos_embed
        if len(set(grid)) != 1 or len(set(self.grid)) != 1 or len(grid) != 2:
            raise InvalidMedia(
                f"a grid of {grid} patches; the tower knows {self.grid}, and square ones if it is square"
            )
        first, rest = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        square = rest.float().transpose(1, 2).reshape(1, -1, *self.grid)  # [1, D, H, W]
        resized = F.interpolate(square, size=grid, mode="bicubic", align_corners=False)
        return torch.cat([first, resized.flatten(2).transpose(1, 2).to(first.dtype)], dim=1)


class PatchPreprocessor(nn.Module):
    """A tower of patches: class token and patch tokens, plus positions. Names inside are the original's."""

    def __init__(self, width: int, shape: TowerShape) -> None:
        super().__init__()
        self.shape = shape
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.add_module(shape.stem, Stem(width, shape))
        positions = Positions(width, shape.grid)
        if shape.linear:
            self.pos_embed = positions.pos_embed
        else:
            self.pos_embedding_helper = positions

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, ...] to [N, 1 + P, D]."""
        self._check(x)
        patch_tokens = self.get_submodule(self.shape.stem)(x)  # [N, *grid, D]
        grid = tuple(patch_tokens.shape[1:-1])
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patch_tokens.flatten(1, -2)], dim=1)
        return tokens + self._positions(grid)

    def _positions(self, grid: tuple[int, ...]) -> torch.Tensor:
        if not self.shape.linear:
            found: torch.Tensor = self.pos_embedding_helper(grid)
            return found
        if grid != self.shape.grid:
            raise InvalidMedia(f"a grid of {grid} patches; the tower knows {self.shape.grid} only")
        return self.pos_embed

    def _check(self, x: torch.Tensor) -> None:
        lead = self.shape.patch[: len(self.shape.patch) - len(self.shape.stride)]  # channels, and frames of a clip
        still = self.shape.clip and x.ndim == 2 + len(self.shape.stride)
        want = lead[:1] if still else lead
        if x.ndim != 1 + len(want) + len(self.shape.stride) or tuple(x.shape[1 : 1 + len(want)]) != want:
            raise InvalidMedia(f"an array of shape {tuple(x.shape)}; the tower takes {lead} before its last axes")


class TextPreprocessor(nn.Module):
    """Token embeddings plus positions; `mask` keeps each position from seeing later ones."""

    mask: torch.Tensor

    def __init__(self, width: int, vocab: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.empty(1, TEXT_LENGTH, width))
        self.token_embedding = nn.Embedding(vocab, width)
        self.register_buffer("mask", torch.empty(TEXT_LENGTH, TEXT_LENGTH))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """[N, 77] token ids to [N, 77, D]."""
        if ids.ndim != 2 or ids.shape[1] != TEXT_LENGTH:
            raise InvalidMedia(f"an array of shape {tuple(ids.shape)}; the text tower takes (N, {TEXT_LENGTH}) ids")
        vocab = self.token_embedding.num_embeddings
        if ids.min() < 0 or ids.max() >= vocab:  # on a GPU an index out of range would end the process
            raise InvalidMedia(f"token ids must be 0 to {vocab - 1}")
        tokens: torch.Tensor = self.token_embedding(ids) + self.pos_embed
        return tokens
