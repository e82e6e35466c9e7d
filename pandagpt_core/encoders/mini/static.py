"""The towers of the small default whose clips have one shape, with made clips of what their recipes give."""

import functools
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from pandagpt_core.encoders.mini.centernet import CenterNet
from pandagpt_core.encoders.mini.senses import SoundTower
from pandagpt_core.encoders.mini.towers import ImageTower
from pandagpt_core.encoders.static.tower import StaticTower

_IMAGE = (1, 3, 224, 224)
_DETAIL = (1, 3, 320, 320)
_FRAMES = 204  # of a sound's clip


def static_towers(towers: nn.ModuleDict) -> list[StaticTower]:
    """The image tower's trunk, which films, depth and heat pass too, the detector and the sound tower.

    The heads on the trunk and the tower for motion take a tenth of a millisecond and three, and texts have lengths.
    """
    return [found for name, tower in towers.items() for found in _static(name, tower, towers)]


def _static(name: str, tower: nn.Module, towers: nn.ModuleDict) -> Iterator[StaticTower]:
    put = functools.partial(towers.__setitem__, name)
    if isinstance(tower, ImageTower):
        yield StaticTower(name, tower.trunk, _noise(_IMAGE), functools.partial(setattr, tower, "trunk"))
    elif isinstance(tower, CenterNet):
        yield StaticTower(name, tower, _noise(_DETAIL) * 128 + 127, put, most=1)
    elif isinstance(tower, SoundTower):
        yield StaticTower(name, tower, _noise((1, 1, tower.bands, _FRAMES)), put)


def _noise(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
