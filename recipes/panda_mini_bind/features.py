"""Panda-mini's training pictures as its own encoder sees them: unit vectors, computed once and kept on disk."""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from pandagpt_core.checkpoints import ADAPTER, ENCODER, read_tensors
from pandagpt_core.encoders.mini.towers import ImageHead
from pandagpt_core.training.log import Log
from recipes.panda_mini.config import DIM, SIZES
from recipes.panda_mini.data import corpus
from recipes.panda_mini.data.features import trunk_features
from recipes.panda_mini.data.media import Picture
from recipes.panda_mini.stage_cache import kept

HEAD = "towers.image.head."
RECALL = "projection.recall"


@dataclass(frozen=True, slots=True)
class PictureFeatures:
    """vectors [N, E] of length one, a row a picture, for the training and for the visual cache."""

    vectors: Tensor


def picture_features(pictures: list[Picture], default: Path, seed: int, cache: Path, log: Log) -> PictureFeatures:
    """Of the pictures, plain on white, in the space of the model folder `default`."""

    def make() -> dict[str, Tensor]:
        found = trunk_features(corpus.seeing_trunk(), pictures, [1] * len(pictures), seed, log)
        with torch.inference_mode():
            pooled, logits = (torch.from_numpy(each).float() for each in (found.pooled, found.logits))
            return {"vectors": image_head(default)(pooled, logits).clone()}

    return PictureFeatures(kept(cache, "bind-features", (corpus.digest(pictures), 1, seed, DIM), make)["vectors"])


def image_head(folder: Path) -> ImageHead:
    """The head of a mini encoder's image tower, float32."""
    head = ImageHead(DIM, SIZES["towers"]["image"]["hidden"])
    tensors = read_tensors(folder / ENCODER, dtype=torch.float32, unused=lambda key: not key.startswith(HEAD))
    head.load_state_dict({key.removeprefix(HEAD): tensor for key, tensor in tensors})
    return head.eval().requires_grad_(False)


def directions(folder: Path) -> Tensor:
    """[C, E] of length one: where the pictures of each concept lie, by the default's recall."""
    ((_, found),) = read_tensors(folder / ADAPTER, dtype=torch.float32, unused=lambda key: key != RECALL)
    return F.normalize(found, dim=-1)
