"""PandaGPT's second half: projection and LoRA trained, encoder and language model frozen (Su et al. 2023, section 3).

The loss is the mean cross entropy over answer tokens; prompts are written by the very code that writes them in service.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.quant.linear import Linear
from pandagpt_core.training.batch import IGNORED, answer_sums, collate
from pandagpt_core.training.device import mixed
from pandagpt_core.training.optimise import optimise


@dataclass(frozen=True, slots=True)
class LoraConfig:
    r: int = 16
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    lr: float = 5e-4
    projection_lr: float = 2e-4
    warmup: float = 0.05
    clip: float = 1.0
    bf16: bool = True


@dataclass(frozen=True, slots=True)
class Example:
    """Prompt token ids with None at the soft slot, answer token ids, and the [E] embedding for the slot if any."""

    prompt: tuple[int | None, ...]
    answer: tuple[int, ...]
    embedding: torch.Tensor | None = None


class LoraLinear(nn.Module):
    """y = W x + alpha / r B A x (Hu et al. 2021), W frozen; B starts at zero."""

    def __init__(self, base: Linear, config: LoraConfig) -> None:
        super().__init__()
        self.base = base
        self.a = nn.Parameter(torch.randn(config.r, base.in_features) / base.in_features**0.5)
        self.b = nn.Parameter(torch.zeros(base.out_features, config.r))
        self.scale = config.alpha / config.r
        self.dropout = config.dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        low = F.linear(F.dropout(x, self.dropout, self.training), self.a)
        out: torch.Tensor = self.base(x) + self.scale * F.linear(low, self.b)
        return out


def add_lora(llm: Llama, config: LoraConfig) -> dict[str, LoraLinear]:
    """Wrap every layer's targets in place; everything else is frozen. Names are the layers' in the model."""
    llm.requires_grad_(False)
    added: dict[str, LoraLinear] = {}
    for name, module in list(llm.named_modules()):
        parent, _, leaf = name.rpartition(".")
        if leaf in config.targets and isinstance(module, Linear):
            added[name] = LoraLinear(module, config)
            setattr(llm.get_submodule(parent), leaf, added[name])
    return added


@dataclass(frozen=True, slots=True)
class BatchResult:
    """Of a batch: the mean cross entropy over learned positions, and the share of them predicted right.

    `accuracy` is counted as PandaGPT counts it: a sequence's first target position is left out.
    """

    loss: torch.Tensor
    accuracy: float


def batch_loss(llm: Llama, projection: nn.Linear, examples: Sequence[Example]) -> torch.Tensor:
    """Mean cross entropy over the answers' tokens."""
    ids = [(*e.prompt, *e.answer) for e in examples]
    targets = [(*[IGNORED] * len(e.prompt), *e.answer) for e in examples]
    return run_batch(llm, projection, ids, targets, [e.embedding for e in examples]).loss


def run_batch(
    llm: Llama,
    projection: nn.Linear,
    ids: Sequence[Sequence[int | None]],
    targets: Sequence[Sequence[int]],
    embeddings: Sequence[torch.Tensor | None],
) -> BatchResult:
    """One forward pass, padded on the right, on the projection's device.

    A sequence with an embedding [E] has one None among its ids.
    """
    media = [[] if vector is None else [vector] for vector in embeddings]
    batch = collate(ids, targets, media, projection.in_features)
    sums = answer_sums(llm, projection, batch.to(projection.weight.device))
    return BatchResult(sums.loss / batch.learned, float(sums.right / sums.counted))


def train(
    llm: Llama,
    projection: nn.Linear,
    batches: Iterable[Sequence[Example]],
    steps: int,
    config: LoraConfig,
    every: Callable[[int, float], None] = lambda _step, _loss: None,
) -> list[float]:
    """Train the LoRA of `add_lora` and the projection in place, on the device where both lie; every step's loss.

    `batches` has at least `steps`; `every` is called with the number of steps done and the last one's loss.
    """
    lora = [p for p in llm.parameters() if p.requires_grad]
    groups = [
        {"params": lora, "highest": config.lr},
        {"params": [*projection.parameters()], "highest": config.projection_lr},
    ]
    seen: list[float] = []
    drawn = iter(batches)

    def losses(_step: int) -> Iterator[torch.Tensor]:
        with mixed(projection.weight.device, wanted=config.bf16):
            loss = batch_loss(llm, projection, next(drawn))
        yield loss

    def after(step: int, loss: float, _norm: float) -> None:
        seen.append(loss)
        every(step + 1, loss)

    optimise(
        torch.optim.AdamW(groups, weight_decay=0.001),
        tqdm(range(steps), desc="training", mininterval=10),
        losses,
        after,
        rate=LinearWarmupDecay(steps, config.warmup),
        clip=config.clip,
    )
    return seen


@dataclass(frozen=True, slots=True)
class LinearWarmupDecay:
    """Learning rate factor: linear up over the warm-up share of steps, then linear down to `floor`."""

    steps: int
    warmup: float
    floor: float = 0.0

    def __call__(self, step: int) -> float:
        rise = max(1, int(self.steps * self.warmup))
        left = (self.steps - step) / max(1, self.steps - rise)
        return min((step + 1) / rise, self.floor + (1 - self.floor) * left)


@dataclass(frozen=True, slots=True)
class CosineWarmupDecay:
    """Learning rate factor: linear up over the warm-up share of steps, then half a cosine down to `floor`."""

    steps: int
    warmup: float
    floor: float = 0.0

    def __call__(self, step: int) -> float:
        rise = max(1, int(self.steps * self.warmup))
        if step < rise:
            return (step + 1) / rise
        done = (step - rise) / max(1, self.steps - rise)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2


SCHEDULES: Mapping[str, type[LinearWarmupDecay] | type[CosineWarmupDecay]] = MappingProxyType(
    {"linear": LinearWarmupDecay, "cosine": CosineWarmupDecay}
)


def adapter_state(projection: nn.Linear, lora: Mapping[str, LoraLinear]) -> dict[str, torch.Tensor]:
    """The adapter as a model folder keeps it."""
    state = {"projection.weight": projection.weight.detach(), "projection.bias": projection.bias.detach()}
    for name, layer in lora.items():
        state |= {f"{name}.lora_A.weight": layer.a.detach(), f"{name}.lora_B.weight": layer.b.detach()}
    return state


def reading_projection(names: torch.Tensor, directions: torch.Tensor, strength: float) -> nn.Linear:
    """The linear map [E] -> [D] from each known direction onto the word vectors of its name, without a bias.

    names: [C, D] where the language model's table has each concept; directions: [C, E], those of the recall. There are
    fewer of them than E, so ridge regression reaches the names nearly exactly, and since nothing but mixtures of them
    is ever read, large weights do no harm. The bias stays zero: media are summed, and it would count for each.
    """
    gram = directions @ directions.T + strength * torch.eye(len(directions))
    layer = nn.Linear(directions.shape[1], names.shape[1])
    with torch.no_grad():
        layer.weight.copy_(names.T @ torch.linalg.solve(gram, directions))
        layer.bias.zero_()
    layer.bias.requires_grad_(False)
    return layer
