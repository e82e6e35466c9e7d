"""One tower of an encoder, trainable: the computing and the weights for a modality, by kind of encoder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from pandagpt_core.checkpoints import ModelFolder
from pandagpt_core.encoders.imagebind import ImageBind
from pandagpt_core.encoders.mini.encoder import MiniEncoder
from pandagpt_core.encoders.mini.senses import MapTower
from pandagpt_core.encoders.mini.trunk import EfficientNetLite0
from pandagpt_core.encoders.sizes import TOWER_OF
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.systems.encoder import load_encoder
from pandagpt_core.types import Modality


class TrainableTower(nn.Module):
    """Clips of one modality to embeddings [N, E], not normalised."""

    def __init__(self, encoder: nn.Module, parts: Sequence[str], compute: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(encoder.get_submodule(part) for part in parts)
        self.names = tuple(parts)  # of the parts, in the encoder's file
        self._compute = compute

    def forward(self, clips: Tensor, counts: list[int]) -> Tensor:
        """All clips of N items and how many each has in, the mean of each item's out."""
        embedded = nn.functional.normalize(self._compute(clips).float(), dim=-1)
        return torch.stack([part.mean(dim=0) for part in torch.split(embedded, counts)])

    def state(self) -> dict[str, Tensor]:
        """The weights by their names in the encoder's file."""
        parts = zip(self.names, self.parts, strict=True)
        return {f"{of}.{name}": t.detach().cpu() for of, part in parts for name, t in part.state_dict().items()}


def open_tower(path: Path, folder: ModelFolder, modality: Modality, *, fresh: int | None = None) -> TrainableTower:
    """The folder's tower of `modality`, trainable; with weights drawn anew from the seed `fresh` if it is given.

    Raises InvalidRequest for a modality that the folder does not take: it has no tower whose sizes would be known.
    """
    if modality not in folder.recipes:
        raise InvalidRequest(f"{folder.id} takes no {modality}; it takes {', '.join(folder.recipes)}")
    tower = _TOWERS[folder.encoder.kind](cast(nn.Module, load_encoder(path, folder, "cpu")), modality)
    for parameter in tower.parameters():
        # Read under inference or mapped from a file: a trained weight needs memory of its own.
        parameter.data = parameter.data.clone()
        parameter.requires_grad_()
    if fresh is not None:
        _draw(tower, fresh)
    return tower


def stacked_arrays(arrays: Sequence[np.ndarray]) -> tuple[Tensor, list[int]]:
    """Items of several clips as one batch, and how many clips each has."""
    return torch.from_numpy(np.concatenate(arrays)), [len(array) for array in arrays]


def _imagebind(encoder: nn.Module, modality: Modality) -> TrainableTower:
    assert isinstance(encoder, ImageBind)
    name = TOWER_OF[modality]

    def compute(clips: Tensor) -> Tensor:
        return encoder.head(name, encoder.pool(name, clips, encoder.trunk(name, encoder.tokens(name, clips))))

    parts = [f"modality_{part}.{name}" for part in ("preprocessors", "trunks", "heads")]
    return TrainableTower(encoder, parts, compute)


def _mini(encoder: nn.Module, modality: Modality) -> TrainableTower:
    """A tower of the small default; of those for maps the head alone, on the trunk of pictures, which stays frozen."""
    assert isinstance(encoder, MiniEncoder)
    part = f"towers.{modality}"
    tower = encoder.get_submodule(part)
    if not isinstance(tower, MapTower):
        return TrainableTower(encoder, [part], tower)
    trunk = cast(EfficientNetLite0, encoder.get_submodule("towers.image.trunk"))
    return TrainableTower(encoder, [f"{part}.head"], lambda maps: tower(maps, trunk.to(maps.device)))


_TOWERS = {"imagebind": _imagebind, "mini": _mini}


def _draw(tower: TrainableTower, seed: int) -> None:
    """Each layer's usual first weights; tokens and positions truncated normal, 0.02 (Dosovitskiy et al. 2020)."""
    torch.manual_seed(seed)
    for module in tower.modules():
        reset = getattr(module, "reset_parameters", None)
        if reset is not None:
            reset()
            continue
        for parameter in module.parameters(recurse=False):
            nn.init.trunc_normal_(parameter, std=0.02)
