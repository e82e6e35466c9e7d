"""The frozen trunk's outputs for every picture and variant, computed once and kept on disk."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pandagpt_core.encoders.mini.trunk import CLASSES, FEATURES, EfficientNetLite0
from pandagpt_core.training.log import Log
from recipes.panda_mini.data.augment import plain, varied
from recipes.panda_mini.data.media import Picture

_BATCH = 32


@dataclass(frozen=True, slots=True)
class Features:
    """Trunk outputs, float16: pooled [M, 1280], logits [M, 1000]; `picture` [M]: of which picture each row is."""

    pooled: np.ndarray
    logits: np.ndarray
    picture: np.ndarray

    def save(self, path: Path) -> None:
        np.savez(path, pooled=self.pooled, logits=self.logits, picture=self.picture)

    @classmethod
    def load(cls, path: Path) -> "Features":
        with np.load(path) as arrays:
            return cls(arrays["pooled"], arrays["logits"], arrays["picture"])


def normalised(images: np.ndarray) -> torch.Tensor:
    """[N, H, W, 3] uint8 in, the trunk's [N, 3, H, W] float32 input out."""
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127) / 128


@torch.inference_mode()
def trunk_features(
    trunk: EfficientNetLite0, pictures: Sequence[Picture], variants: Sequence[int], seed: int, log: Log
) -> Features:
    """`variants[i]` rows for picture i: the plain one first, then varied ones. Skips what cannot be drawn.

    Every row's randomness is its own (seed, picture, variant), so a row does not depend on the others.
    """
    jobs = [(index, variant) for index, count in enumerate(variants) for variant in range(count)]
    pooled = np.zeros((len(jobs), FEATURES), np.float16)
    logits = np.zeros((len(jobs), CLASSES), np.float16)
    kept = np.zeros(len(jobs), bool)
    drawn: dict[int, Image.Image | None] = {}

    def image(job: tuple[int, int]) -> np.ndarray | None:
        index, variant = job
        cutout = drawn.get(index) or _draw(pictures[index])
        if cutout is None:
            return None
        drawn[index] = cutout
        return plain(cutout) if variant == 0 else varied(cutout, np.random.default_rng((seed, index, variant)))

    at = 0
    with ThreadPoolExecutor(1) as ahead:
        chunks = [jobs[start : start + _BATCH] for start in range(0, len(jobs), _BATCH)]
        waiting = ahead.submit(lambda c: [image(job) for job in c], chunks[0])
        for number, chunk in enumerate(chunks):
            images = waiting.result()
            drawn_before = chunk[0][0]
            for old in [index for index in drawn if index < drawn_before]:
                del drawn[old]
            if number + 1 < len(chunks):
                waiting = ahead.submit(lambda c: [image(job) for job in c], chunks[number + 1])
            good = [offset for offset, one in enumerate(images) if one is not None]
            if good:
                rows = at + np.array(good)
                stacked = normalised(np.stack([one for one in images if one is not None]))
                outputs = trunk(stacked.to(trunk.stem.weight))
                pooled[rows], logits[rows] = (output.float().half().cpu().numpy() for output in outputs)
                kept[rows] = True
            at += len(chunk)
            if number % 20 == 0:
                log("features", done=at, of=len(jobs))
    return Features(pooled[kept], logits[kept], np.array([index for index, _ in jobs])[kept])


def _draw(picture: Picture) -> Image.Image | None:
    """The cut-out, or None where the file is not a picture after all (a few icons use features we cannot draw)."""
    try:
        return picture.draw()
    except (OSError, ValueError):
        return None
