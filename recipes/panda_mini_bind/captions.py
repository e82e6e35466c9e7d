"""Captions for training: a few words that name the concept nearest to a feature of the space."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pandagpt_core.llm.tokenizers.base import Tokenizer
from recipes.panda_mini.concepts import Concept
from recipes.panda_mini.language.projection_lora import text_prompt
from recipes.panda_mini.language.qa_templates import with_article
from recipes.panda_mini_bind.config import DrawConfig

# Each question has an answer of its own form. All are about pictures or about no medium: others are zero-shot.
CAPTIONS: Mapping[str, str] = {
    "What is this?": "This is {a}.",
    "What is it?": "It is {a}.",
    "What is in the picture?": "The picture shows {a}.",
    "What is in the image?": "The image shows {a}.",
    "What do you see?": "I see {a}.",
    "Describe the picture.": "The picture shows {a}.",
    "Name it.": "It is {a}.",
    "Answer in a few words: what is this?": "{A}.",
}


@dataclass(frozen=True, slots=True)
class CaptionIds:
    """Token ids: a prompt for each question, and of each question the answer of every concept, with its end."""

    prompts: tuple[tuple[int, ...], ...]
    answers: tuple[tuple[tuple[int, ...], ...], ...]

    @classmethod
    def of(cls, tokenizer: Tokenizer, concepts: Sequence[Concept]) -> "CaptionIds":
        end = next(iter(tokenizer.eos_ids))
        prompts = [text_prompt(tokenizer, question) for question in CAPTIONS]
        answers = [[(*tokenizer.encode(_filled(form, one)), end) for one in concepts] for form in CAPTIONS.values()]
        return cls(
            tuple(tuple(token for token in one if token is not None) for one in prompts), tuple(map(tuple, answers))
        )

    @property
    def tokens(self) -> frozenset[int]:
        """All tokens of the answers."""
        return frozenset(token for every in self.answers for one in every for token in one)


def _filled(form: str, concept: Concept) -> str:
    named = with_article(concept)
    return form.format(a=named, A=named[0].upper() + named[1:])


@dataclass(frozen=True, slots=True)
class Captioned:
    """A feature [E] of length one, and the question and concept, by index, whose answer it must bring forth."""

    feature: Tensor
    question: int
    concept: int


class FeatureDraw:
    """Draws features of pictures, each concept as often as every other, moved so that other media look alike."""

    def __init__(self, vectors: Tensor, directions: Tensor, config: DrawConfig) -> None:
        """vectors [M, E] of pictures, directions [C, E] of concepts, all of length one."""
        self._vectors, self._directions, self._config = vectors, directions, config
        nearest = (vectors @ directions.T).argmax(dim=1)
        self._near = [(nearest == concept).nonzero()[:, 0].numpy() for concept in range(len(directions))]

    def draw(self, rng: np.random.Generator) -> Captioned:
        feature, concept = self.feature(rng)
        return Captioned(feature, int(rng.integers(len(CAPTIONS))), concept)

    def feature(self, rng: np.random.Generator) -> tuple[Tensor, int]:
        """[E], and the concept that it is nearest to after it was moved."""
        feature = self._moved(self._one(rng), rng)
        return feature, int((self._directions @ feature).argmax())

    def _one(self, rng: np.random.Generator) -> Tensor:
        concept = int(rng.integers(len(self._directions)))
        rows = self._near[concept]
        if not len(rows) or rng.random() < self._config.own:
            return self._directions[concept]
        return self._vectors[int(rng.choice(rows))]

    def _moved(self, feature: Tensor, rng: np.random.Generator) -> Tensor:
        other = self._vectors[int(rng.integers(len(self._vectors)))]
        share = float(rng.uniform(0, self._config.mix))
        noise = F.normalize(torch.from_numpy(rng.normal(size=len(feature)).astype(np.float32)), dim=-1)
        moved = (1 - share) * feature + share * other + float(rng.uniform(0, self._config.noise)) * noise
        return F.normalize(moved, dim=-1)
