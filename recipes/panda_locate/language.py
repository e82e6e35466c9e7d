"""The language model's part: a projection of the rows, and LoRA, trained on answers alone."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pandagpt_core.encoders.grid.lines import Words
from pandagpt_core.encoders.grid.sizes import THINGS
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.training.batch import IGNORED
from pandagpt_core.training.log import Log
from pandagpt_core.training.lora import LoraConfig, LoraLinear, add_lora
from pandagpt_core.training.optimise import optimise
from pandagpt_core.training.tune.model import cast_frozen
from recipes.panda_locate.checkpoint import keep, resume
from recipes.panda_locate.plans import imagined, plan_scene
from recipes.panda_locate.questions import ask
from recipes.panda_locate.rows import Noise, imagined_rows, words_of
from recipes.panda_locate.sequences import Packed, Packer, Tree

LORA = LoraConfig(r=32, alpha=64.0, lr=1e-3)
Batches = Callable[[int], Packed]  # the batch of a step


@dataclass(frozen=True, slots=True)
class LanguageConfig:
    """steps: constant rate after the rise, then down to nothing over the last `fall` of them.

    first: the layer from which on LoRA is trained; those below already read the rows, which are words.
    """

    steps: int = 153
    pictures: int = 2
    questions: int = 10
    lora: LoraConfig = LORA
    first: int = 8
    rise: int = 10
    fall: float = 0.3
    keep_every: int = 20
    seed: int = 1

    def rate(self, step: int) -> float:
        left = (self.steps - step) / max(1.0, self.steps * self.fall)
        return min(1.0, (step + 1) / self.rise, max(left, 0.0))


def imagined_batches(tokenizer: Tokenizer, config: LanguageConfig, noise: Noise) -> Batches:
    """Scenes that are never drawn; a step's are the same whenever it is taken."""
    words = words_of(tokenizer)
    packer = Packer(tokenizer, words.rows(THINGS))

    def batch(step: int) -> Packed:
        rng = np.random.default_rng((config.seed, step))
        pictures = []
        for _ in range(config.pictures):
            things = [imagined(plan, rng) for plan in plan_scene(rng)]
            pictures.append((imagined_rows(words, things, rng, noise), ask(things, rng, config.questions)))
        return packer.pack(pictures)

    return batch


def first_projection(llm: Llama, tokenizer: Tokenizer, words: Words) -> nn.Linear:
    """[K] -> [D]: every piece begins as the language model's own embedding of it."""
    layer = nn.Linear(len(words.pieces), llm.config.width, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.cat([llm.embed(tokenizer.encode(piece)) for piece in words.pieces]).T)
    return layer


@dataclass(frozen=True, slots=True)
class Learned:
    """Mean cross entropy over the answers' tokens; of each kind of question how many were right as a whole, of all."""

    loss: Tensor
    right: dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class ReaderModel:
    """`projection` of rows, frozen, and the LoRA beside the language model's layers; `trained` is the part that is."""

    llm: Llama
    projection: nn.Linear
    lora: dict[str, LoraLinear]
    trained: dict[str, nn.Parameter]

    @classmethod
    def fresh(cls, llm: Llama, tokenizer: Tokenizer, config: LanguageConfig) -> "ReaderModel":
        torch.manual_seed(config.seed)
        projection = first_projection(llm, tokenizer, words_of(tokenizer)).requires_grad_(False)
        lora = add_lora(llm, config.lora)
        kept = {name: layer for name, layer in lora.items() if layer_of(name) >= config.first}
        for name in lora.keys() - kept.keys():
            parent, _, leaf = name.rpartition(".")
            setattr(llm.get_submodule(parent), leaf, lora[name].base)
        cast_frozen(llm, torch.bfloat16)
        return cls(llm, projection, lora, _pairs(kept))

    def adapter(self) -> dict[str, Tensor]:
        """All tensors of a folder's adapter; pairs that were not trained change nothing."""
        tensors = {"projection.weight": self.projection.weight, **_pairs(self.lora)}
        return {name: tensor.detach() for name, tensor in tensors.items()}

    def learn(self, batch: Packed) -> Learned:
        embeds = self.llm.embed(batch.tokens)
        embeds = embeds.masked_scatter(batch.slot[:, :, None], self.projection(batch.rows).float())
        hidden = self.llm.hidden(embeds, batch.positions, Tree(batch.part))
        learned = batch.targets[:, 1:] != IGNORED
        target = batch.targets[:, 1:][learned]
        logits = self.llm.logits(hidden[:, :-1][learned]).float()
        wrong = torch.zeros_like(learned).masked_scatter(learned, logits.argmax(dim=-1) != target)
        return Learned(F.cross_entropy(logits, target), _right(wrong, batch))


def layer_of(name: str) -> int:
    """Of a module of the language model: "model.layers.7.self_attn.q_proj" is of 7."""
    return int(name.split(".layers.")[1].partition(".")[0])


def _pairs(lora: Mapping[str, LoraLinear]) -> dict[str, nn.Parameter]:
    named = (({"A": layer.a, "B": layer.b}, name) for name, layer in lora.items())
    return {f"{name}.lora_{side}.weight": one for pair, name in named for side, one in pair.items()}


def _right(wrong: Tensor, batch: Packed) -> dict[str, tuple[int, int]]:
    """wrong: [B, T - 1] booleans at the answers' tokens."""
    found: dict[str, tuple[int, int]] = {}
    for row, kinds in enumerate(batch.kinds):
        for part, kind in enumerate(kinds, start=1):
            right = not bool(wrong[row][batch.part[row, 1:] == part].any())
            hits, of = found.get(kind, (0, 0))
            found[kind] = (hits + right, of + 1)
    return found


def train_reader(
    reader: ReaderModel, batches: Batches, config: LanguageConfig, kept: Path, log: Log, stop: int | None = None
) -> None:
    """In place. Goes on from `kept` where that is there, and writes it as it goes. stop: at this step at the latest."""
    optimizer = torch.optim.AdamW(reader.trained.values(), lr=config.lora.lr, weight_decay=0.0, betas=(0.9, 0.98))
    optimizer.param_groups[0]["highest"] = config.lora.lr
    began, right = time.monotonic(), dict[str, tuple[int, int]]()
    last = config.steps if stop is None else stop

    def losses(step: int) -> Iterator[Tensor]:
        nonlocal began, right
        began = time.monotonic()
        with torch.autocast("cpu", torch.bfloat16):
            learned = reader.learn(batches(step))
        right = learned.right
        yield learned.loss

    def after(step: int, loss: float, _norm: float) -> None:
        log("language", step=step, loss=round(loss, 3), right=right, seconds=round(time.monotonic() - began, 1))
        if (step + 1) % config.keep_every == 0 or step + 1 == last:
            keep(reader.trained, optimizer, kept, step + 1)

    steps = range(resume(reader.trained, optimizer, kept), last)
    optimise(optimizer, steps, losses, after, rate=config.rate, clip=config.lora.clip)
