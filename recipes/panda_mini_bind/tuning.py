"""ImageBind-LLM's second phase: norms, biases and LoRA of the language model, on instructions with a picture or none.

The original tunes every layer. Here those that get the vector are tuned, so the layers below, whose states are computed
once, stay as they are: their biases and updates are zero, and their norms the base's.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pandagpt_core.checkpoints.imagebind_llm import ADAPTED, tuned_shapes
from pandagpt_core.convert.fresh_bind import fresh_fetch
from pandagpt_core.llm.llama import Llama
from pandagpt_core.systems.imagebind_llm.adapter import put_tuned
from pandagpt_core.training.log import Log
from pandagpt_core.training.lora import LoraConfig, add_lora
from pandagpt_core.training.tune.bind_model import TrainableBind
from recipes.panda_mini_bind.captions import FeatureDraw
from recipes.panda_mini_bind.config import TuneConfig
from recipes.panda_mini_bind.instructions import Instruction
from recipes.panda_mini_bind.lower_layers import LowerLayers
from recipes.panda_mini_bind.training import LaidOut, UpperLoss, descend


def tunable(model: TrainableBind, config: TuneConfig) -> TrainableBind:
    """The first phase's model with biases of zero and fresh LoRA; changes its language model in place."""
    llm, shapes = model.llm, tuned_shapes(model.llm.config)
    norms = {name: weight.detach() for name, weight in llm.named_parameters() if name in shapes}
    fetch = fresh_fetch(shapes, norms.__getitem__)
    put_tuned(llm, {name: fetch(name) for name in shapes})
    torch.manual_seed(config.seed)
    add_lora(llm, LoraConfig(r=config.rank, alpha=float(config.rank), targets=ADAPTED))
    tuned = TrainableBind(llm, model.network, model.prefix, "finetune")
    for layer in range(llm.config.layers - model.prefix.layers):
        llm.get_submodule(f"model.layers.{layer}").requires_grad_(False)
    return tuned


def states_below(llm: Llama, count: int, pool: Sequence[Instruction]) -> dict[str, Tensor]:
    """[T, D] of each, by its number as text: above the first `count` layers of the untouched language model."""
    lower, of_prompt = LowerLayers(llm, count), defaultdict[tuple[int, ...], list[int]](list)
    for number, one in enumerate(pool):
        of_prompt[one.prompt].append(number)
    return {
        str(number): state
        for prompt, numbers in of_prompt.items()
        for number, state in zip(numbers, lower.states(prompt, [pool[at].answer for at in numbers]), strict=True)
    }


class InstructionDraw:
    """Draws instructions with their states: one without a picture, or one of the concept that a moved feature shows."""

    def __init__(
        self, pool: Sequence[Instruction], states: Mapping[str, Tensor], features: FeatureDraw, config: TuneConfig
    ) -> None:
        self._pool, self._states, self._features, self._config = pool, states, features, config
        self._of = defaultdict[int | None, list[int]](list)
        for number, one in enumerate(pool):
            self._of[one.concept].append(number)

    def draw(self, rng: np.random.Generator) -> LaidOut:
        if rng.random() < self._config.alone:
            return self._laid_out(int(rng.choice(self._of[None])), None)
        feature, concept = self._features.feature(rng)
        return self._laid_out(int(rng.choice(self._of[concept])), feature)

    def _laid_out(self, number: int, feature: Tensor | None) -> LaidOut:
        one = self._pool[number]
        return LaidOut(one.prompt, one.answer, self._states[str(number)], feature)


def tune_bind(
    model: TrainableBind, drawn: InstructionDraw, pool: Sequence[Instruction], config: TuneConfig, kept: Path, log: Log
) -> None:
    """In place; goes on from `kept`. pool: of all instructions, whose answers' tokens are distinguished."""
    loss = UpperLoss.of(model, (token for one in pool for token in one.answer), config.common)
    descend(loss, drawn.draw, config, lambda _name: config.lr, kept, log)
