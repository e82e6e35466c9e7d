"""The small default model's towers for sound, depth and heat.

ImageBind has a vision transformer for each. At this size a few thousand examples do not train one: sound has a small
convolutional network instead, and depth and heat are looked at through the image tower's frozen trunk, by a head each.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pandagpt_core.encoders.mini.trunk import FEATURES

_GROUPS = 8
_SHRUNK = 16  # the stem halves, and three of the blocks
LEVELS = 9
_EVERY = 7  # pixels from one that counts to the next, for the levels


class _Residual(nn.Module):
    """Two convolutions beside a straight way (He et al. 2015), with group norms: batches are small."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.first_norm = nn.GroupNorm(_GROUPS, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.second_norm = nn.GroupNorm(_GROUPS, outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.skip(x) + self.second_norm(self.second(y)))


class SoundTower(nn.Module):
    """[N, 1, bands, frames] log-mel pictures in, [N, dim] unit vectors out.

    Pitch is kept to the end, time is not: the bands of each moment are read together, then moments are pooled by mean
    and by maximum, so that a knock counts as much as what lasts.
    """

    def __init__(self, dim: int, width: int, bands: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.bands = bands
        self.stem = nn.Conv2d(1, width, 5, 2, 2)
        self.blocks = nn.Sequential(
            _Residual(width, width, 2),
            _Residual(width, 2 * width, 2),
            _Residual(2 * width, 4 * width, 2),
            _Residual(4 * width, 4 * width, 1),
        )
        self.read = nn.Linear(4 * width * (bands // _SHRUNK), dim)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(2 * dim, dim)

    def forward(self, clips: Tensor) -> Tensor:
        moments = self.blocks(F.relu(self.stem(clips))).flatten(1, 2).transpose(1, 2)  # [N, T, 4 width x bands / 16]
        heard = F.gelu(self.read(moments))
        pooled = torch.cat((heard.mean(dim=1), heard.amax(dim=1)), dim=1)
        return F.normalize(self.project(self.dropout(pooled)), dim=-1)


class MapHead(nn.Module):
    """[N, 1280 + 9] features and levels of maps in, [N, dim] unit vectors out."""

    def __init__(self, dim: int, hidden: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.inner = nn.Linear(FEATURES + LEVELS, hidden)
        self.dropout = nn.Dropout(dropout)
        self.outer = nn.Linear(hidden, dim)

    def forward(self, features: Tensor) -> Tensor:
        return F.normalize(self.outer(self.dropout(F.gelu(self.inner(features)))), dim=-1)


class MapTower(nn.Module):
    """[N, 1, H, W] maps of depth or heat, and the image tower's trunk, in; [N, dim] unit vectors out.

    The trunk sees the map as a grey picture of middling contrast; how near or warm it was, it no longer sees, so nine
    levels of the map (its quantiles) go to the head beside the trunk's features.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.head = MapHead(dim, hidden)

    def forward(self, maps: Tensor, trunk: nn.Module) -> Tensor:
        unit: Tensor = self.head(map_features(maps.float(), trunk).to(self.head.inner.weight.dtype))
        return unit


def map_features(maps: Tensor, trunk: nn.Module) -> Tensor:
    """[N, 1280 + 9] float32 of float32 maps: the trunk's features of them as grey pictures, and their levels."""
    spread = (maps - maps.mean(dim=(2, 3), keepdim=True)) / maps.std(dim=(2, 3), keepdim=True).clamp_min(1e-3)
    grey = (spread / 2).clamp(-1.5, 1.5).expand(-1, 3, -1, -1).to(next(trunk.parameters()).dtype)
    pooled, _ = trunk(grey)
    at = torch.linspace(0, 1, LEVELS, device=maps.device)
    levels = torch.quantile(maps.flatten(1)[:, ::_EVERY], at, dim=1).T
    return torch.cat((pooled.float(), levels), dim=1)
