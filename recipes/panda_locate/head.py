"""The grid encoder's head, trained to find centres, boxes, names and colours of drawn scenes; the trunk is frozen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pandagpt_core.encoders.grid.encoder import SIDE, GridFeatures, GridHead, GridTrunk
from pandagpt_core.encoders.grid.sizes import GridSizes
from pandagpt_core.training.log import Log
from pandagpt_core.training.lora import CosineWarmupDecay
from pandagpt_core.training.optimise import optimise
from recipes.panda_locate.checkpoint import keep, resume
from recipes.panda_locate.features import Kept
from recipes.panda_locate.things import COLOURS, DrawnThing

_SPREAD = 0.7  # cells: how far from a centre a guess still counts as near
_NEAR = 0.35  # of a centre's bump: cells that learn the box too
_RISE = 0.05


@dataclass(frozen=True, slots=True)
class HeadConfig:
    steps: int = 1500
    batch: int = 16
    lr: float = 2e-3
    seed: int = 1
    keep_every: int = 250


class Truth(NamedTuple):
    """Of every cell [N, side, side, ...]: the bump of the nearest centre, 0 to 1, and the kind of that thing."""

    bump: Tensor
    names: Tensor
    colours: Tensor
    boxes: Tensor


def truth_of(scenes: Sequence[Sequence[DrawnThing]]) -> Truth:
    bump = torch.zeros(len(scenes), SIDE, SIDE)
    kinds = torch.zeros(2, len(scenes), SIDE, SIDE, dtype=torch.long)
    boxes = torch.zeros(len(scenes), SIDE, SIDE, 4)
    middle = torch.arange(SIDE) + 0.5
    for index, things in enumerate(scenes):
        for thing in things:
            left, top, right, bottom = thing.box
            x, y = (left + right) / 2 * SIDE, (top + bottom) / 2 * SIDE
            column, row = (min(int(value), SIDE - 1) for value in (x, y))
            away = (middle[None, :] - (column + 0.5)) ** 2 + (middle[:, None] - (row + 0.5)) ** 2
            own = torch.exp(-away / (2 * _SPREAD**2))
            nearer = own > bump[index]
            bump[index] = torch.where(nearer, own, bump[index])
            kinds[:, index, nearer] = torch.tensor([[thing.name], [thing.colour % (len(COLOURS) + 1)]])
            boxes[index, nearer] = torch.tensor(thing.box)
    return Truth(bump, kinds[0], kinds[1], boxes)


def head_loss(seen: GridFeatures, truth: Truth) -> tuple[Tensor, dict[str, float]]:
    """The sum of what each output is off by, over the things of the batch."""
    near, at = truth.bump > _NEAR, truth.bump == 1
    weight = truth.bump[near]
    names = F.cross_entropy(seen.names[near], truth.names[near], reduction="none", label_smoothing=0.05)
    colours = F.cross_entropy(seen.colours[near], truth.colours[near], reduction="none")
    boxes = 1 - generalised_iou(seen.boxes[near], truth.boxes[near])
    edges = (seen.boxes[near] - truth.boxes[near]).abs().sum(dim=-1) * 4
    parts = {
        "centre": focal(seen.centre, truth.bump) / at.sum(),
        "names": (names * weight).sum() / weight.sum(),
        "colours": (colours * weight).sum() / weight.sum(),
        "boxes": ((boxes + edges) * weight).sum() / weight.sum(),
    }
    right = (seen.names[at].argmax(dim=-1) == truth.names[at]).float().mean()
    return torch.stack(list(parts.values())).sum(), {"right": right.item(), **{k: v.item() for k, v in parts.items()}}


def focal(logits: Tensor, bump: Tensor) -> Tensor:
    """Summed; Law and Deng 2018 (CornerNet), equation 1: cells next to a centre count less as none."""
    likely = logits.sigmoid().clamp(1e-4, 1 - 1e-4)
    yes = (1 - likely) ** 2 * likely.log()
    no = (1 - bump) ** 4 * likely**2 * (1 - likely).log()
    return -torch.where(bump == 1, yes, no).sum()


def generalised_iou(one: Tensor, other: Tensor) -> Tensor:
    """[M, 4] each to [M], Rezatofighi et al. 2019."""
    low, high = torch.maximum(one[:, :2], other[:, :2]), torch.minimum(one[:, 2:], other[:, 2:])
    shared = (high - low).clamp_min(0).prod(dim=-1)
    areas = [(box[:, 2:] - box[:, :2]).clamp_min(0).prod(dim=-1) for box in (one, other)]
    union = areas[0] + areas[1] - shared
    around = (torch.maximum(one[:, 2:], other[:, 2:]) - torch.minimum(one[:, :2], other[:, :2])).prod(dim=-1)
    return shared / union.clamp_min(1e-9) - (around - union) / around.clamp_min(1e-9)


def train_head(
    kept: Kept, trunk: GridTrunk, sizes: GridSizes, config: HeadConfig, path: Path, log: Log, stop: int | None = None
) -> GridHead:
    """Goes on from `path` where it is there. stop: at this step at the latest."""
    torch.manual_seed(config.seed)
    head = GridHead(sizes)
    with torch.no_grad():
        assert head.read.bias is not None
        head.read.bias[0] = -4.0  # few cells are centres
    optimizer = torch.optim.AdamW(head.parameters(), lr=config.lr, weight_decay=0.02)
    optimizer.param_groups[0]["highest"] = config.lr
    trained = dict(head.named_parameters())
    last = config.steps if stop is None else stop
    parts: dict[str, float] = {}

    def losses(step: int) -> Iterator[Tensor]:
        chosen = np.random.default_rng((config.seed, step)).choice(len(kept.things), config.batch, replace=False)
        maps = torch.from_numpy(np.stack([kept.maps[at] for at in chosen])).float()
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                wide = trunk.widened(maps)
            seen = head(wide)
        loss, found = head_loss(seen, truth_of([kept.things[at] for at in chosen]))
        parts.update(found)
        yield loss

    def after(step: int, _loss: float, _norm: float) -> None:
        if step % 25 == 0:
            log("head", step=step, of=config.steps, **{name: round(value, 3) for name, value in parts.items()})
        if (step + 1) % config.keep_every == 0 or step + 1 == last:
            keep(trained, optimizer, path, step + 1)

    steps = range(resume(trained, optimizer, path), last)
    optimise(optimizer, steps, losses, after, rate=CosineWarmupDecay(config.steps, _RISE), clip=5.0)
    return head.eval().requires_grad_(False)
