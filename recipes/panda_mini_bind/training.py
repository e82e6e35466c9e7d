"""ImageBind-LLM's first phase (bind network, prefix queries, gates) over layers whose inputs are known.

The layers below the first that gets the vector are not run: their states come from `lower_layers`. The loss is the
cross entropy of the captions' tokens among all tokens of captions and the commonest of the vocabulary.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pandagpt_core.llm.llama import Layer, Llama, LlamaAttention
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.systems.imagebind_llm.bind_network import BindBlock, BindNetwork
from pandagpt_core.systems.imagebind_llm.prefix_adapter import PrefixAdapter, to_heads
from pandagpt_core.training.batch import IGNORED, Batch, attention, collate
from pandagpt_core.training.log import Log
from pandagpt_core.training.lora import LinearWarmupDecay
from pandagpt_core.training.optimise import optimise
from pandagpt_core.training.tune.bind_model import TrainableBind
from recipes.panda_locate.checkpoint import keep, resume
from recipes.panda_mini_bind.captions import Captioned, CaptionIds
from recipes.panda_mini_bind.config import BindTraining
from recipes.panda_mini_bind.lower_layers import run_layers

States = Sequence[Sequence[Tensor]]  # by question and concept, [T, D]
Draw = Callable[[np.random.Generator], Captioned]
Example = TypeVar("Example", contravariant=True)


class Descent(Protocol):
    """A phase's configuration, as far as its loop reads it."""

    @property
    def steps(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def warmup(self) -> float: ...
    @property
    def clip(self) -> float: ...
    @property
    def keep_every(self) -> int: ...
    @property
    def seed(self) -> int: ...


class Loss(Protocol[Example]):
    """Mean cross entropy of examples, and the share of tokens that are predicted right."""

    @property
    def model(self) -> TrainableBind: ...

    def __call__(self, examples: Sequence[Example], /) -> tuple[Tensor, float]: ...


def fresh_bind(llm: Llama, names: Tensor, directions: Tensor, config: BindTraining) -> TrainableBind:
    """Gates of zero, and a network that gives each direction's name to the residual stream once they open.

    names [C, D]: where the language model's table has each concept. directions [C, E].
    """
    torch.manual_seed(config.seed)
    width, layers = llm.config.width, config.layers
    network, prefix = (
        BindNetwork(directions.shape[1], width, config.hidden),
        PrefixAdapter(layers, llm.config.heads, width),
    )
    with torch.no_grad():
        for block in network.blocks:
            assert isinstance(block, BindBlock)
            block.down_proj.weight.zero_()  # a block begins as nothing beside its input
        network.proj.weight.copy_(first_matrix(paths(llm, layers), names, directions, config.ridge))
        network.proj.bias.zero_()
    return TrainableBind(llm, network, prefix, "pretrain")


def paths(llm: Llama, layers: int) -> Tensor:
    """[D, D]: a vector's map into the residual stream over the last `layers`, with open gates."""
    total = torch.zeros(llm.config.width, llm.config.width)
    for layer in list(llm.model.layers)[-layers:]:
        assert isinstance(layer, Layer)
        assert isinstance(layer.self_attn, LlamaAttention)
        value = to_heads(layer.self_attn.v_proj.weight.float().T, llm.config.heads, llm.config.kv_heads)
        total += layer.self_attn.o_proj.weight.float() @ value.T
    return total


def first_matrix(through: Tensor, names: Tensor, directions: Tensor, ridge: float) -> Tensor:
    """[D, E]: from each direction to the vector whose way through the layers is the concept's name; ridge regression
    in both steps, so that no vector is long."""
    wanted = names - names.mean(dim=0)
    scale = through.square().mean().sqrt() * len(through) ** 0.5
    square = through.T @ through + ridge * scale**2 * torch.eye(len(through))
    vectors = torch.linalg.solve(square, through.T @ wanted.T)  # [D, C]
    gram = directions @ directions.T + ridge * torch.eye(len(directions))
    matrix: Tensor = vectors @ torch.linalg.solve(gram, directions)
    return matrix


@dataclass(frozen=True, slots=True)
class LaidOut:
    """Token ids; their states [T, D] below the first layer that gets the vector; the feature [E], if there is one."""

    prompt: Sequence[int]
    answer: Sequence[int]
    below: Tensor
    feature: Tensor | None


@dataclass(frozen=True, slots=True)
class UpperLoss:
    """The loss of examples that pass the layers with the vector alone. kept [V']: the token ids that an answer's token
    is distinguished from, ascending."""

    model: TrainableBind
    kept: Tensor

    @classmethod
    def of(cls, model: TrainableBind, tokens: Iterable[int], common: int) -> "UpperLoss":
        """tokens: all of answers. common: the vocabulary's first, beside them."""
        return cls(model, torch.tensor(sorted(frozenset(tokens) | frozenset(range(common)))))

    def __call__(self, examples: Sequence[LaidOut]) -> tuple[Tensor, float]:
        """Mean cross entropy, and the share of tokens that are predicted right."""
        batch, llm = self._batch(examples), self.model.llm
        first = llm.config.layers - self.model.prefix.layers
        below = nn.utils.rnn.pad_sequence([one.below for one in examples], batch_first=True).float()
        which = range(first, llm.config.layers)
        hidden = run_layers(llm, below, which, attention(batch.keep), self.model.layer_bias(batch))
        learned = batch.targets[:, 1:] != IGNORED
        out = llm.model.norm(hidden[:, :-1][learned])
        logits = F.linear(out, llm.lm_head.weight[self.kept].to(out.dtype)).float()
        target = torch.searchsorted(self.kept, batch.targets[:, 1:][learned])
        right = (logits.argmax(dim=-1) == target).float().mean()
        return F.cross_entropy(logits, target), float(right)

    def _batch(self, examples: Sequence[LaidOut]) -> Batch:
        return collate(
            [(*one.prompt, *one.answer) for one in examples],
            [(*[IGNORED] * len(one.prompt), *one.answer) for one in examples],
            [[] if one.feature is None else [one.feature] for one in examples],
            self.model.network.proj.in_features,
        )


@dataclass(frozen=True, slots=True)
class BindLoss:
    """The loss of captions."""

    upper: UpperLoss
    captions: CaptionIds
    states: States

    @classmethod
    def of(cls, model: TrainableBind, captions: CaptionIds, states: States, common: int) -> "BindLoss":
        return cls(UpperLoss.of(model, captions.tokens, common), captions, states)

    @property
    def model(self) -> TrainableBind:
        return self.upper.model

    def __call__(self, examples: Sequence[Captioned]) -> tuple[Tensor, float]:
        """As `UpperLoss`."""
        return self.upper([self._laid_out(one) for one in examples])

    def _laid_out(self, one: Captioned) -> LaidOut:
        at, concept = one.question, one.concept
        return LaidOut(
            self.captions.prompts[at], self.captions.answers[at][concept], self.states[at][concept], one.feature
        )


def train_bind(
    loss_of: BindLoss, draw: Draw, config: BindTraining, kept: Path, log: Log, stop: int | None = None
) -> None:
    """In place. Goes on from `kept` where that is there, and writes it as it goes. stop: the step to end at, the
    schedule being that of all steps."""
    descend(
        loss_of, draw, config, lambda name: config.gates_lr if name.endswith("gates") else config.lr, kept, log, stop
    )


def descend(
    loss_of: Loss[Example],
    draw: Callable[[np.random.Generator], Example],
    config: Descent,
    rate_of: Callable[[str], float],
    kept: Path,
    log: Log,
    stop: int | None = None,
) -> None:
    """A phase's loop, by what its model trains. rate_of: the highest learning rate of a parameter, by its name."""
    trained = {name: one for name, one in loss_of.model.named_parameters() if one.requires_grad}
    groups = [{"params": [one], "lr": rate_of(name), "highest": rate_of(name)} for name, one in trained.items()]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0, betas=(0.9, 0.98))
    began, right = time.monotonic(), 0.0
    last = config.steps if stop is None else stop

    def losses(step: int) -> Iterator[Tensor]:
        nonlocal began, right
        began, rng = time.monotonic(), np.random.default_rng((config.seed, step))
        with torch.autocast("cpu", torch.bfloat16):
            loss, right = loss_of([draw(rng) for _ in range(config.batch)])
        yield loss

    def after(step: int, loss: float, _norm: float) -> None:
        seconds = round(time.monotonic() - began, 1)
        log(loss_of.model.phase, step=step, loss=round(loss, 3), right=round(right, 3), seconds=seconds)
        if (step + 1) % config.keep_every == 0 or step + 1 == last:
            keep(trained, optimizer, kept, step + 1)

    steps = range(resume(trained, optimizer, kept), last)
    optimise(
        optimizer, steps, losses, after, rate=LinearWarmupDecay(config.steps, config.warmup, 0.02), clip=config.clip
    )


def names_of(llm: Llama, tokenizer: Tokenizer, names: Sequence[str]) -> Tensor:
    """[C, D]: the mean of the table's rows of each name."""
    return torch.stack([llm.embed(tokenizer.encode(" " + name)).mean(dim=0) for name in names]).detach()
