"""The towers for sound, depth and heat of the small default model: their data made, kept, and aligned to the pictures.

Sound goes by the bank, one direction a concept; a depth or heat map by the embedding of the very picture it was made
from as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pandagpt_core.encoders.mini.senses import MapTower, SoundTower, map_features
from pandagpt_core.encoders.mini.trunk import EfficientNetLite0
from pandagpt_core.training.device import CPU
from pandagpt_core.training.log import Log
from recipes.panda_mini.concepts import load_concepts
from recipes.panda_mini.data.acoustics import masked
from recipes.panda_mini.data.media import Picture
from recipes.panda_mini.data.synthetic import RELIEFS, drawn_layers
from recipes.panda_mini.space.towers import Items, TowerConfig, align_tower
from recipes.panda_mini.stage_cache import kept

# The towers' own sizes.
SOUND = {"width": 32, "bands": 128}
MAPS = {"hidden": 512}
_BATCH = 32
_TURN = 20.0
_FEATURE_NOISE = 0.15


@dataclass(frozen=True, slots=True)
class SensesConfig:
    """`clips`: of every audible concept. `variants`: maps made of every picture."""

    seed: int = 1
    clips: int = 900
    variants: int = 2
    sound: TowerConfig = field(default_factory=lambda: TowerConfig(steps=7500, batch=32, lr=2e-3))
    maps: TowerConfig = field(default_factory=lambda: TowerConfig(steps=600, batch=128, lr=1e-3))


def train_sound(cache: Path, bank: Tensor, config: SensesConfig, log: Log, device: torch.device = CPU) -> SoundTower:
    """Rendered clips, varied as waves once and as pictures each time, against the bank; trained on `device`."""
    # The player of sound banks is needed for this stage alone.
    from recipes.panda_mini.data import sounds

    def render() -> dict[str, Tensor]:
        rows = list(sounds.played(cache / "packages", load_concepts(), config.clips, config.seed))
        clips = torch.from_numpy(np.stack([clip.astype(np.float16) for _, clip in rows]))
        return {"clips": clips, "concept": torch.tensor([concept for concept, _ in rows])}

    rendered = kept(
        cache, "sounds", (config.clips, config.seed, sounds.TRAINING_BANKS, sounds.SAMPLES, sounds.EFFECTS), render
    )
    items = Items(rendered["clips"].numpy(), rendered["concept"].numpy())
    torch.manual_seed(config.seed)
    tower = SoundTower(bank.shape[1], **SOUND)
    align_tower(tower, items, bank, _masked, config.sound, log, device)
    return tower


def _masked(clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return masked(clip.astype(np.float32), rng)


def train_maps(
    kind: str,
    pictures: list[Picture],
    near: Tensor,
    bank: Tensor,
    trunk: EfficientNetLite0,
    config: SensesConfig,
    log: Log,
) -> MapTower:
    """The head of a tower for "depth" or "thermal" maps, trained where `trunk` lies.

    near: [len(pictures), dim], each picture's own embedding, on the CPU as the bank is.
    """
    features, picture = [], []
    for found, index in _seen(kind, pictures, trunk, config, log):
        features.append(found)
        picture.append(index)
    rows, index = np.concatenate(features), np.concatenate(picture)
    concept = np.array([one.concept for one in pictures])[index]
    items = Items(rows, concept, near[torch.from_numpy(index)])
    return fit_map_tower(items, bank, config, log, trunk.stem.weight.device)


def fit_map_tower(items: Items, bank: Tensor, config: SensesConfig, log: Log, device: torch.device = CPU) -> MapTower:
    """The head alone, on features of maps [M, 1289] as they come of the frozen trunk."""
    mean, deviation = items.arrays.mean(axis=0), items.arrays.std(axis=0) + 1e-3
    torch.manual_seed(config.seed)
    tower = MapTower(bank.shape[1], **MAPS)
    scaled = Items((items.arrays - mean) / deviation, items.concept, items.paired)
    align_tower(tower.head, scaled, bank, _noisy, config.maps, log, device)
    return scaled_into(tower, mean, deviation)


def scaled_into(tower: MapTower, mean: np.ndarray, deviation: np.ndarray) -> MapTower:
    """The same tower for features as they come: its first layer takes over their centring and scaling."""
    inner = tower.head.inner
    with torch.no_grad():
        inner.weight.div_(torch.from_numpy(deviation).float())
        inner.bias.sub_(inner.weight @ torch.from_numpy(mean).float())
    return tower


def _noisy(row: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noisy: np.ndarray = row + _FEATURE_NOISE * rng.normal(0, 1, row.shape).astype(np.float32)
    return noisy


@torch.inference_mode()
def _seen(
    kind: str, pictures: list[Picture], trunk: EfficientNetLite0, config: SensesConfig, log: Log
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Features of the maps of every picture that shows a concept: ([n, 1289], the picture of each [n])."""
    concepts = load_concepts()
    maps: list[np.ndarray] = []
    index: list[int] = []
    shown = [at for at, picture in enumerate(pictures) if picture.concept >= 0]
    for done, at in enumerate(shown):
        parts = drawn_layers(pictures[at])
        for variant in range(config.variants if parts is not None else 0):
            rng = np.random.default_rng((config.seed, at, variant))
            assert parts is not None
            maps.append(RELIEFS[kind](parts, concepts[pictures[at].concept], rng, _TURN))
            index.append(at)
        if len(maps) >= _BATCH or (done == len(shown) - 1 and maps):
            stacked = torch.from_numpy(np.stack(maps)).to(trunk.stem.weight.device)
            yield map_features(stacked, trunk).cpu().numpy(), np.array(index)
            maps, index = [], []
            log(kind, done=done + 1, of=len(shown))
