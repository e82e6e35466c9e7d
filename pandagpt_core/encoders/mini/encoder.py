"""The small default model's encoder: as few towers as its weights hold, behind the protocol of ImageBind's."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pandagpt_core.checkpoints import account
from pandagpt_core.empty_weights import init_empty_weights
from pandagpt_core.encoders.base import TowerPart
from pandagpt_core.encoders.mini.centernet import CenterNet
from pandagpt_core.encoders.mini.points import PointTower
from pandagpt_core.encoders.mini.rows import crop_of, rows_of
from pandagpt_core.encoders.mini.senses import MapTower, SoundTower
from pandagpt_core.encoders.mini.towers import ImageTower, SignalTower, TextTower
from pandagpt_core.encoders.static.tower import StaticTower
from pandagpt_core.errors import CheckpointError, UnsupportedModality
from pandagpt_core.modalities import check_recipes
from pandagpt_core.perception.rows import ROWS
from pandagpt_core.types import Modality

# By modality: the tower of `sizes` that encodes it, and the recipe of its arrays.
_TOWERS: Mapping[Modality, tuple[str, str]] = {
    Modality.IMAGE: ("image", "lite0-image-v1"),
    Modality.VIDEO: ("image", "lite0-video-v1"),
    Modality.TEXT: ("text", "clip-bpe-v1"),
    Modality.AUDIO: ("audio", "mixed-audio-v1"),
    Modality.DEPTH: ("depth", "depth-sunrgbd-v1"),
    Modality.THERMAL: ("thermal", "shown-thermal-v1"),
    Modality.IMU: ("imu", "imu-v1"),
    Modality.POINTS: ("points", "points-8192-v1"),
}
_BUILDERS: Mapping[str, Callable[..., nn.Module]] = {
    "image": ImageTower,
    "text": TextTower,
    "signal": SignalTower,
    "sound": SoundTower,
    "map": MapTower,
    "points": PointTower,
    "things": lambda dim: CenterNet(),  # noqa: ARG005 - it finds things, and embeds nothing
}
THINGS = "things"
# Shapes of made clips, by which ways to compute a tower are compared.
_IMAGE_CLIP, _DETAIL_CLIP = (1, 3, 224, 224), (1, 3, 320, 320)
_SOUND_FRAMES = 204
_DETAILED = "lite0-detail-v1"  # of pictures, where things are found in them too
check_recipes({modality: recipe for modality, (_, recipe) in _TOWERS.items()})


class MiniEncoder(nn.Module):
    """Towers by name; unit vectors out of every one. A video's frames are its clips."""

    def __init__(self, sizes: Mapping[str, Any]) -> None:
        """sizes: {"dim": width of the space, "towers": {name: the tower's own keyword arguments}}.

        A tower of neither image nor text names its `kind` there: sound, map, or signal, which is the default.
        """
        super().__init__()
        self.dim = int(sizes["dim"])
        self._sizes = sizes
        self.towers = nn.ModuleDict(
            {name: _built(name, self.dim, **arguments) for name, arguments in sizes["towers"].items()}
        )
        if "image" not in self.towers and any(isinstance(tower, MapTower) for tower in self.towers.values()):
            raise ValueError("a tower for maps looks through the image tower's trunk, and there is no image tower")
        self.recipes = recipes_of(sizes)

    @property
    def perceives(self) -> bool:
        return THINGS in self.towers

    @classmethod
    def load(cls, sizes: Mapping[str, Any], state: Mapping[str, Tensor]) -> "MiniEncoder":
        """Build the towers and load them, on the state's device. Raises CheckpointError, KeyMismatch."""
        try:
            with init_empty_weights():
                encoder = cls(sizes)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the encoder's sizes do not describe towers: {error!r}") from error
        expected = {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}
        account("encoder", expected, {name: tuple(tensor.shape) for name, tensor in state.items()})
        encoder.load_state_dict(dict(state), assign=True)
        return encoder.eval().requires_grad_(False)

    def part(self, modality: Modality) -> TowerPart:
        """A tower, and those that it looks through or that see the same picture."""
        name = _TOWERS[modality][0]
        looks = isinstance(self.towers[name], MapTower)
        names = {name, *(["image"] if looks else []), *([THINGS] if modality == Modality.IMAGE else [])}
        own = {each: self._sizes["towers"][each] for each in names if each in self.towers}
        prefixes = tuple(f"towers.{each}." for each in own)
        rows = ROWS[modality] if self.perceives else 1
        facts = {"dim": self.dim, "perceives": self.perceives, "rows": rows, "towers": own}
        return TowerPart(lambda key: key.startswith(prefixes), facts)

    def static_towers(self) -> Sequence[StaticTower]:
        """The towers whose clips have one shape; `encoders.static` chooses the fastest way to compute them.

        They are the image tower's trunk, which films, depth and heat pass too, the detector and the sound tower. The
        heads on the trunk and the tower for motion take a tenth of a millisecond and three, and texts have lengths.
        """
        return [found for name, tower in self.towers.items() for found in _static(name, tower, self.towers)]

    @torch.inference_mode()
    def encode(self, modality: Modality, clips: Tensor) -> Tensor:
        """[N, ...] clips in, [N, dim] float32 unit vectors out."""
        if modality not in self.recipes:
            raise UnsupportedModality(f"this encoder has no tower for {modality}", param=modality)
        tower = self.towers[_TOWERS[modality][0]]
        clips = crop_of(clips) if modality == Modality.IMAGE else clips
        seen = (clips, self.towers["image"].trunk) if isinstance(tower, MapTower) else (clips,)
        embedded: Tensor = tower(*seen)
        return embedded.float()

    @torch.inference_mode()
    def rows(self, modality: Modality, items: Sequence[np.ndarray]) -> list[Tensor]:
        """Each item's embedding and, in the rows below it, its perception (`perception.rows`): [n, dim]."""
        return rows_of(self, modality, items)


def _built(name: str, dim: int, kind: str = "signal", **arguments: Any) -> nn.Module:
    """One tower. Raises KeyError for a kind that is none, TypeError for arguments that are not its own."""
    if name not in (*(tower for tower, _ in _TOWERS.values()), THINGS):
        raise KeyError(name)
    return _BUILDERS[name if name in _BUILDERS else kind](dim=dim, **arguments)


def recipes_of(sizes: Mapping[str, Any]) -> dict[Modality, str]:
    """The modalities that towers of these sizes take, and how each is prepared."""
    found = {modality: recipe for modality, (tower, recipe) in _TOWERS.items() if tower in sizes["towers"]}
    return found | ({Modality.IMAGE: _DETAILED} if THINGS in sizes["towers"] else {})


def _static(name: str, tower: nn.Module, towers: nn.ModuleDict) -> Iterator[StaticTower]:
    """The part of a tower whose clips have one shape, with made clips of what its recipe gives."""
    put = functools.partial(towers.__setitem__, name)
    if isinstance(tower, ImageTower):
        yield StaticTower(name, tower.trunk, _noise(_IMAGE_CLIP), functools.partial(setattr, tower, "trunk"))
    elif isinstance(tower, CenterNet):
        yield StaticTower(name, tower, _noise(_DETAIL_CLIP) * 128 + 127, put, most=1)
    elif isinstance(tower, SoundTower):
        yield StaticTower(name, tower, _noise((1, 1, tower.bands, _SOUND_FRAMES)), put)


def _noise(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
