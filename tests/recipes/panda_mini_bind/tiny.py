"""A tiny model to bind, with random weights and a space of three concepts."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.training.tune.bind_model import TrainableBind
from recipes.panda_mini_bind.captions import Captioned, CaptionIds
from recipes.panda_mini_bind.config import BindTraining
from recipes.panda_mini_bind.lower_layers import all_states
from recipes.panda_mini_bind.training import BindLoss, fresh_bind

WIDTH, FEATURES, CONCEPTS, VOCABULARY = 16, 6, 3, 20
CONFIG = BindTraining(layers=2, hidden=8, steps=60, batch=6, lr=3e-2, gates_lr=2e-1, common=VOCABULARY, keep_every=2)
CAPTIONS = CaptionIds(
    prompts=((1, 2, 3), (4, 5)), answers=(((6, 7, 19), (8, 19), (9, 10, 11, 19)), ((6, 19), (8, 9, 19), (10, 19)))
)


@dataclass(frozen=True)
class Tiny:
    llm: Llama
    model: TrainableBind
    loss: BindLoss
    directions: torch.Tensor

    def draw(self, rng: np.random.Generator) -> Captioned:
        concept = int(rng.integers(CONCEPTS))
        return Captioned(self.directions[concept], int(rng.integers(2)), concept)


def tiny() -> Tiny:
    torch.manual_seed(0)
    llm = Llama(LlamaConfig(vocab=VOCABULARY, width=WIDTH, layers=4, heads=4, kv_heads=2, head_dim=4, ffn=32))
    llm.requires_grad_(False)
    directions = F.normalize(torch.randn(CONCEPTS, FEATURES), dim=-1)
    model = fresh_bind(llm, torch.randn(CONCEPTS, WIDTH), directions, CONFIG)
    made = all_states(llm, 2, CAPTIONS.prompts, CAPTIONS.answers)
    states = [[made[f"{at}.{which}"].float() for which in range(CONCEPTS)] for at in range(2)]
    return Tiny(llm, model, BindLoss.of(model, CAPTIONS, states, VOCABULARY), directions)
