"""The shared space of the small default: image head and text tower trained against each other (CLIP, section 2.3).

Pairs are (picture, a text of its key) and (what the trunk would say of an ImageNet class, a text of that class). The
second kind teaches photos of concepts that were only ever drawn for us. Of half of them the pooled features are
sampled too: linear discriminant analysis reads a classifier's rows as W_c = S^-1 (m_c - m), so m + S W_c, with the
within-class covariance S of the pictures, is where a class lies; the other half leaves the features' branch out.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pandagpt_core.encoders.mini.towers import ImageHead, TextTower
from pandagpt_core.training.device import CPU, mixed
from pandagpt_core.training.log import Log
from pandagpt_core.training.optimise import optimise


@dataclass(frozen=True, slots=True)
class Rows:
    """M pictures as the trunk saw them: pooled [M, 1280], logits [M, 1000], key [M]: which entry of the texts."""

    pooled: Tensor
    logits: Tensor
    key: Tensor

    def where(self, chosen: Tensor) -> "Rows":
        return Rows(self.pooled[chosen], self.logits[chosen], self.key[chosen])


@dataclass(frozen=True, slots=True)
class Texts:
    """The ways to call each key, as CLIP ids [n, 77]; the first `concepts` keys are the concepts."""

    ids: tuple[Tensor, ...]
    concepts: int

    def pick(self, keys: Sequence[int], rng: np.random.Generator) -> Tensor:
        return torch.stack([self.ids[key][rng.integers(len(self.ids[key]))] for key in keys])


class ClassSampler:
    """Pictures of ImageNet classes that nobody took, as the trunk would have seen them."""

    def __init__(self, rows: Rows, concepts: int, weight: Tensor, bias: Tensor, key_of_class: Tensor) -> None:
        drawn = rows.where(rows.key < concepts)
        means = torch.zeros(concepts, drawn.pooled.shape[1]).index_reduce(
            0, drawn.key, drawn.pooled, "mean", include_self=False
        )
        self.spread = drawn.pooled - means[drawn.key]
        covariance = self.spread.T @ self.spread / len(self.spread)
        toward = weight @ covariance  # [1000, 1280]
        self.toward = toward / (toward * weight).sum(dim=1, keepdim=True)  # raises its class's logit by one
        self.mean, self.weight, self.bias, self.key_of_class = drawn.pooled.mean(dim=0), weight, bias, key_of_class
        self.classes = torch.arange(len(weight))

    def restrict(self, allowed: Tensor) -> None:
        """Sample only the classes where `allowed` [1000] is true."""
        self.classes = allowed.nonzero()[:, 0]

    def sample(self, count: int, rng: np.random.Generator) -> Rows:
        classes = self.classes[torch.from_numpy(rng.integers(0, len(self.classes), count))]
        rise = torch.from_numpy(rng.uniform(6, 16, (count, 1))).float()
        noise = self.spread[torch.from_numpy(rng.integers(0, len(self.spread), count))]
        pooled = (self.mean + rise * self.toward[classes] + 0.8 * noise).clamp_min(0)
        return Rows(pooled, pooled @ self.weight.T + self.bias, self.key_of_class[classes])


@dataclass(frozen=True, slots=True)
class AlignConfig:
    """`pull` weighs a second term, 1 - cosine to the right text: it makes an embedding the mean of the texts it may
    mean, and so nearly the one text where the head is sure, which a linear projection can then hand on as a word.
    """

    steps: int = 500
    batch: int = 256
    classes: int = 128
    lr: float = 1e-3
    drop_branch: float = 0.15
    noise: float = 0.1
    pull: float = 0.0
    seed: int = 0


def align(
    head: ImageHead,
    tower: TextTower | None,
    fixed: Tensor | None,
    rows: Rows,
    texts: Texts,
    sampler: ClassSampler,
    config: AlignConfig,
    log: Log,
    device: torch.device = CPU,
) -> None:
    """Train in place: `head` with `tower`, or `head` alone against `fixed` [keys, dim], the texts' mean embeddings.

    Everything lies on the CPU, before and after; rows and noise are drawn there, and learned from on `device`.
    """
    rng = np.random.default_rng(config.seed)
    torch.manual_seed(config.seed)
    scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)).to(device))
    parts: list[nn.Module] = [head, *([tower] if tower is not None else [])]
    trained = [scale, *(weight for part in parts for weight in part.to(device).parameters())]
    optimizer = torch.optim.AdamW(trained, lr=config.lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=config.steps, pct_start=0.1)
    odds = _odds(rows.key)
    deviation = rows.pooled.std(dim=0)

    def losses(_step: int) -> Iterator[Tensor]:
        real = rows.where(torch.from_numpy(rng.choice(len(odds), config.batch, p=odds)))
        made = sampler.sample(config.classes, rng)
        pooled = torch.cat((real.pooled, made.pooled))
        pooled = pooled + config.noise * deviation * torch.randn_like(pooled)
        key = torch.cat((real.key, made.key))
        seen = (pooled, torch.cat((real.logits, made.logits)), _branches(config, len(key)))
        images = head(*(part.to(device) for part in seen))
        # Every concept stands among the candidates each time, for every batch.
        keys, target = torch.unique(torch.cat((torch.arange(texts.concepts), key)), return_inverse=True)
        target = target[texts.concepts :]
        if tower is not None:
            with mixed(device):
                names = tower(texts.pick(keys.tolist(), rng).to(device))
            names = names.float()
        else:
            assert fixed is not None
            names = fixed[keys].to(device)
        logits = scale.clamp(max=math.log(60)).exp() * images @ names.T
        right = target.to(device)
        loss = F.cross_entropy(logits, right, label_smoothing=0.05)
        loss = loss + config.pull * (1 - (images * names[right]).sum(dim=-1)).mean()
        if tower is not None:
            share = F.one_hot(target, len(keys)).float()[:, (present := target.unique())].T
            share = (share / share.sum(dim=1, keepdim=True)).to(device)
            loss = loss + 0.5 * F.cross_entropy(logits.T[present.to(device)], share)
        yield loss

    def after(step: int, loss: float, _norm: float) -> None:
        schedule.step()
        if step % 25 == 0:
            log("align", step=step, of=config.steps, loss=round(loss, 3))

    head.train()
    optimise(optimizer, range(config.steps), losses, after)
    head.eval()
    for part in parts:
        part.to(CPU)


def _odds(key: Tensor) -> np.ndarray:
    """Keys weigh alike up to a root: a concept with many pictures still counts more, but not by their number."""
    counts = torch.bincount(key)
    odds = (1 / counts[key].float().sqrt()).double().numpy()
    share: np.ndarray = odds / odds.sum()
    return share


def _branches(config: AlignConfig, count: int) -> Tensor:
    """Some rows lose one branch of the head, so that either can stand alone; of made ones half lose the features."""
    keep = torch.ones(count, 2)
    lost = torch.rand(count)
    keep[lost < config.drop_branch, 1] = 0
    keep[lost > 1 - config.drop_branch, 0] = 0
    made = torch.arange(count) >= config.batch
    keep[made & (lost > 0.5), 0] = 0
    keep[made, 1] = 1
    return keep


@torch.no_grad()
def mean_texts(tower: TextTower, texts: Texts) -> Tensor:
    """[keys, dim] unit vectors: the mean over each key's texts."""
    everything = tower(torch.cat(texts.ids)).split([len(ids) for ids in texts.ids])
    return F.normalize(torch.stack([part.mean(dim=0) for part in everything]), dim=-1).clone()
