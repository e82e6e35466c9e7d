"""Towers beside the image's, aligned to the frozen image space and never to text: ImageBind's recipe (section 3).

Each item goes near an image embedding of its concept: its own picture's where it was made from one (depth, heat), else
any. InfoNCE runs against a bank of one direction a concept, the mean of that concept's image embeddings.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pandagpt_core.training.device import CPU, mixed
from pandagpt_core.training.log import Log
from pandagpt_core.training.optimise import optimise

Varied = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True, slots=True)
class Items:
    """M inputs of one tower [M, ...], the concept of each, and the image embedding [M, dim] to lie near, if its own."""

    arrays: np.ndarray
    concept: np.ndarray
    paired: Tensor | None = None


@dataclass(frozen=True, slots=True)
class TowerConfig:
    steps: int = 400
    batch: int = 64
    lr: float = 1e-3
    temperature: float = 0.05
    seed: int = 0


def image_bank(embeddings: Tensor, concept: Tensor, concepts: int) -> Tensor:
    """[concepts, dim] unit vectors: where the pictures of each concept lie."""
    sums = torch.zeros(concepts, embeddings.shape[1]).index_add(0, concept, embeddings)
    return F.normalize(sums, dim=-1)


def align_tower(
    tower: nn.Module,
    items: Items,
    bank: Tensor,
    varied: Varied,
    config: TowerConfig,
    log: Log,
    device: torch.device = CPU,
) -> None:
    """Train `tower` in place, on `device`; the bank and the paired embeddings stay as they are. All lies on the CPU."""
    rng = np.random.default_rng(config.seed)
    tower.to(device)
    bank = bank.to(device)
    optimizer = torch.optim.AdamW(tower.parameters(), lr=config.lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=config.steps, pct_start=0.15)
    counts = np.bincount(items.concept, minlength=len(bank))
    odds = 1 / np.sqrt(counts[items.concept])
    odds /= odds.sum()

    def losses(_step: int) -> Iterator[Tensor]:
        chosen = rng.choice(len(odds), config.batch, p=odds)
        batch = torch.from_numpy(np.stack([varied(items.arrays[i], rng) for i in chosen])).float().to(device)
        concept = torch.from_numpy(items.concept[chosen]).to(device)
        with mixed(device):
            found = tower(batch)
        found = found.float()
        near = bank[concept] if items.paired is None else items.paired[torch.from_numpy(chosen)].to(device)
        loss = F.cross_entropy(found @ bank.T / config.temperature, concept, label_smoothing=0.05)
        yield loss + (1 - (found * near).sum(dim=-1)).mean()

    def after(step: int, loss: float, _norm: float) -> None:
        schedule.step()
        if step % 25 == 0:
            log("tower", step=step, of=config.steps, loss=round(loss, 3))

    tower.train()
    optimise(optimizer, range(config.steps), losses, after, clip=1.0)
    tower.eval().to(CPU)
