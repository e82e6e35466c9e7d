"""The language model's stage: from embeddings of the space to examples, and the training of projection and LoRA."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.tokenizer import Tokenizer
from pandagpt_core.prompts import TEMPLATES, token_ids
from pandagpt_core.training.base_answers import base_answers
from pandagpt_core.training.concepts import Concept
from pandagpt_core.training.lora import Example
from pandagpt_core.training.talk import TEXT_ONLY, say
from pandagpt_core.types import Conversation, MediaUse, Modality, Turn

TEMPLATE = TEMPLATES["chatml"]


@dataclass(frozen=True, slots=True)
class SpeechConfig:
    """`text_only` of a batch's examples have no picture. `noise` is the length of what is added to a unit vector."""

    batch: int = 16
    text_only: int = 2
    noise: float = 0.35
    mix: float = 0.25
    base_tokens: int = 40
    ridge: float = 0.1
    seed: int = 0


def picture_prompt(tokenizer: Tokenizer, question: str) -> tuple[int | None, ...]:
    """The prompt as the service writes it for one picture and a question."""
    conversation = Conversation((Turn("user", question),), (MediaUse(Modality.IMAGE, "0" * 64, 0),))
    return tuple(token_ids(TEMPLATE, tokenizer, conversation))


def name_targets(llm: Llama, tokenizer: Tokenizer, concepts: Sequence[Concept]) -> Tensor:
    """[concepts, D]: where the language model's own table has a concept's name."""
    return torch.stack([llm.embed(tokenizer.encode(" " + c.name)).mean(dim=0) for c in concepts]).detach()


def batches(
    embeddings: Tensor,
    key: Tensor,
    concepts: Sequence[Concept],
    tokenizer: Tokenizer,
    llm_file: Path,
    cache: Path,
    config: SpeechConfig,
) -> Iterator[list[Example]]:
    """Endless batches. A concept is drawn first, then one of its embeddings, then what is asked and answered."""
    rng = np.random.default_rng(config.seed)
    end = next(iter(tokenizer.eos_ids))
    rows = {concept: (key == concept).nonzero()[:, 0].numpy() for concept in _present(key)}
    present = list(rows)
    plain = base_answers(llm_file, TEXT_ONLY, config.base_tokens, cache)
    while True:
        batch = []
        for _ in range(config.batch - config.text_only):
            concept = present[rng.integers(len(present))]
            question, answer = say(concepts[concept], concepts, rng)
            vector = _varied(embeddings, int(rng.choice(rows[concept])), config, rng)
            said = (*tokenizer.encode(answer), end)
            batch.append(Example(picture_prompt(tokenizer, question), said, vector))
        for question in rng.choice(TEXT_ONLY, config.text_only):
            asked = Conversation((Turn("user", str(question)),))
            batch.append(Example(tuple(token_ids(TEMPLATE, tokenizer, asked)), tuple(plain[str(question)])))
        yield batch


def _varied(embeddings: Tensor, row: int, config: SpeechConfig, rng: np.random.Generator) -> Tensor:
    """Noise on all, another embedding mixed into half: the model reads a region, not the points it was shown."""
    vector = embeddings[row]
    if rng.random() < 0.5:
        other = embeddings[int(rng.integers(len(embeddings)))]
        vector = nn.functional.normalize(vector + float(rng.uniform(0, config.mix)) * other, dim=0)
    noise = torch.from_numpy(rng.normal(0, config.noise / len(vector) ** 0.5, len(vector))).float()
    return vector + float(rng.uniform(0, 1)) * noise


def _present(key: Tensor) -> list[int]:
    return sorted(set(key.tolist()))
