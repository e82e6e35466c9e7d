"""The language model's part: a projection of the rows, and LoRA, trained on answers alone."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pandagpt_core.encoders.grid.codes import CHARACTERS
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.training.batch import IGNORED
from pandagpt_core.training.log import Log
from pandagpt_core.training.lora import LoraConfig, add_lora
from pandagpt_core.training.optimise import optimise
from pandagpt_core.training.tune.model import cast_frozen
from recipes.panda_locate.checkpoint import keep, resume
from recipes.panda_locate.plans import MOST, imagined, plan_scene
from recipes.panda_locate.questions import ask
from recipes.panda_locate.rows import CODES, ROWS, Noise, imagined_rows
from recipes.panda_locate.sequences import Packed, Packer, Tree
from recipes.panda_locate.things import COLOURS, NAMES, PLACES

FEW = 3
LORA = LoraConfig(r=32, alpha=64.0, lr=1e-3, projection_lr=1e-3)
Batches = Callable[[int], Packed]  # the batch of a step


@dataclass(frozen=True, slots=True)
class LanguageConfig:
    """steps: constant rate after the rise, then down to nothing over the last `fall` of them."""

    steps: int = 300
    pictures: int = 3
    questions: int = 8
    lora: LoraConfig = LORA
    rise: int = 15
    fall: float = 0.3
    keep_every: int = 20
    seed: int = 1
    alone: float = 0.06
    few: float = 0.3

    def most(self, step: int) -> int:
        """Things in a scene: one until digits can be read, then few, so that their rows are told apart, then all."""
        done = step / self.steps
        return 1 if done < self.alone else FEW if done < self.few else MOST

    def rate(self, step: int) -> float:
        left = (self.steps - step) / max(1.0, self.steps * self.fall)
        return min(1.0, (step + 1) / self.rise, max(left, 0.0))


def imagined_batches(tokenizer: Tokenizer, config: LanguageConfig, noise: Noise) -> Batches:
    """Scenes that are never drawn; a step's are the same whenever it is taken."""
    packer = Packer(tokenizer, ROWS)

    def batch(step: int) -> Packed:
        rng = np.random.default_rng((config.seed, step))
        pictures = []
        for _ in range(config.pictures):
            things = [imagined(plan, rng) for plan in plan_scene(rng, most=config.most(step))]
            pictures.append((imagined_rows(things, rng, noise), ask(things, rng, config.questions)))
        return packer.pack(pictures)

    return batch


def first_projection(llm: Llama, tokenizer: Tokenizer, seed: int) -> nn.Linear:
    """[width] -> [D] where everything begins as the words for it, digits as digits. No bias: no thing is nothing."""
    layer = nn.Linear(CODES.width, llm.config.width, bias=False)
    words = [*(f" {word}" for word in (*NAMES, *COLOURS, "plain", *PLACES, "small", "medium", "large"))]
    table = torch.stack([llm.embed(tokenizer.encode(word)).mean(dim=0) for word in words])
    digits = torch.stack([llm.embed(tokenizer.encode(str(digit))).mean(dim=0) for digit in range(10)])
    which = torch.randn(CHARACTERS, llm.config.width, generator=torch.Generator().manual_seed(seed)) * digits.std()
    columns = (table / 2, which, digits, torch.zeros(1, llm.config.width))  # the digit is a row's own
    with torch.no_grad():
        layer.weight.copy_(torch.cat(columns).detach().T)
    return layer


@dataclass(frozen=True, slots=True)
class ReaderModel:
    """What is trained: `projection` of rows and the LoRA beside the language model's layers."""

    llm: Llama
    projection: nn.Linear
    trained: dict[str, nn.Parameter]

    @classmethod
    def fresh(cls, llm: Llama, tokenizer: Tokenizer, config: LanguageConfig) -> "ReaderModel":
        torch.manual_seed(config.seed)
        projection = first_projection(llm, tokenizer, config.seed)
        lora = add_lora(llm, config.lora)
        cast_frozen(llm, torch.bfloat16)
        trained = {f"projection.{name}": parameter for name, parameter in projection.named_parameters()}
        for name, layer in lora.items():
            trained |= {f"{name}.lora_A.weight": layer.a, f"{name}.lora_B.weight": layer.b}
        return cls(llm, projection, trained)

    def losses(self, batch: Packed) -> tuple[Tensor, Tensor]:
        """Mean cross entropy over the answers' tokens, and the share of them that was predicted right."""
        embeds = self.llm.embed(batch.tokens)
        embeds = embeds.masked_scatter(batch.slot[:, :, None], self.projection(batch.rows).float())
        hidden = self.llm.hidden(embeds, batch.positions, Tree(batch.part))
        learned = batch.targets[:, 1:] != IGNORED
        target = batch.targets[:, 1:][learned]
        logits = self.llm.logits(hidden[:, :-1][learned]).float()
        return F.cross_entropy(logits, target), (logits.argmax(dim=-1) == target).float().mean()


def train_reader(reader: ReaderModel, batches: Batches, config: LanguageConfig, kept: Path, log: Log) -> None:
    """In place. Goes on from `kept` where that is there, and writes it as it goes."""
    rates = [config.lora.projection_lr if name.startswith("projection") else config.lora.lr for name in reader.trained]
    groups = [
        {"params": [one], "lr": rate, "highest": rate} for one, rate in zip(reader.trained.values(), rates, strict=True)
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0, betas=(0.9, 0.98))
    began, right = time.monotonic(), 0.0

    def losses(step: int) -> Iterator[Tensor]:
        nonlocal began, right
        began = time.monotonic()
        with torch.autocast("cpu", torch.bfloat16):
            loss, share = reader.losses(batches(step))
        right = float(share)
        yield loss

    def after(step: int, loss: float, _norm: float) -> None:
        seconds = round(time.monotonic() - began, 1)
        log("language", step=step, loss=round(loss, 3), right=round(right, 3), seconds=seconds)
        if (step + 1) % config.keep_every == 0 or step + 1 == config.steps:
            keep(reader.trained, optimizer, kept, step + 1)

    steps = range(resume(reader.trained, optimizer, kept), config.steps)
    optimise(optimizer, steps, losses, after, rate=config.rate, clip=config.lora.clip)
