"""Evaluation of a model folder on held-out pictures, through the very runtime that serves: does the answer name it?"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pandagpt_core.media import Limits, load
from pandagpt_core.runtime import Runtime
from pandagpt_core.training.concepts import Concept
from pandagpt_core.training.data.media import Picture
from pandagpt_core.training.evaluation.measures import wilson
from pandagpt_core.training.talk import first_named
from pandagpt_core.types import Conversation, MediaUse, Modality, SamplingParams, Turn

QUESTION = "What is this?"
_TOKENS = 24


@dataclass(frozen=True, slots=True)
class Score:
    """Of n pictures, how many answers name the concept first, and how many one of its category; 95 % intervals."""

    n: int
    exact: int
    category: int

    def said(self) -> dict[str, float | int | list[float]]:
        return {
            "n": self.n,
            "exact": round(self.exact / self.n, 3),
            "exact_95": [round(bound, 3) for bound in wilson(self.exact, self.n)],
            "category": round(self.category / self.n, 3),
        }


def picture_bytes(picture: Picture) -> bytes:
    """The file as a caller would send it; drawings in SVG as the PNG that they show."""
    if picture.data.lstrip()[:1] != b"<":
        return picture.data
    out = io.BytesIO()
    picture.draw().save(out, "PNG")
    return out.getvalue()


def embed_pictures(runtime: Runtime, pictures: Sequence[Picture]) -> list[np.ndarray]:
    recipe = runtime.info.recipes[Modality.IMAGE]
    arrays = [load(recipe, picture_bytes(picture), {}, Limits()) for picture in pictures]
    return runtime.encode(Modality.IMAGE, arrays)


def answers(
    runtime: Runtime, modality: Modality, embeddings: Sequence[np.ndarray], question: str = QUESTION
) -> list[str]:
    """Greedy answers to one question about each embedding alone."""
    texts: dict[str, str] = {}
    params = SamplingParams(max_tokens=_TOKENS, temperature=0.0)
    for index, embedding in enumerate(embeddings):
        conversation = Conversation((Turn("user", question),), (MediaUse(modality, f"{index:064x}", 0),))
        runtime.admit(str(index), conversation, [embedding], params)
        texts[str(index)] = ""
    while runtime.has_work:
        for output in runtime.step():
            texts[output.sequence_id] += output.text
    return list(texts.values())


def score(said: Sequence[str], truth: Sequence[int], concepts: Sequence[Concept]) -> Score:
    names = [concept.name for concept in concepts]
    category = {concept.name: concept.cat for concept in concepts}
    named = [first_named(answer, names) for answer in said]
    exact = sum(name == names[index] for name, index in zip(named, truth, strict=True))
    alike = sum(
        name is not None and category[name] == concepts[index].cat for name, index in zip(named, truth, strict=True)
    )
    return Score(len(said), exact, alike)


def evaluate(runtime: Runtime, sets: Mapping[str, Sequence[Picture]], concepts: Sequence[Concept]) -> dict[str, Score]:
    """Each set's score for pictures."""
    scores = {}
    for name, pictures in sets.items():
        said = answers(runtime, Modality.IMAGE, embed_pictures(runtime, pictures))
        scores[name] = score(said, [picture.concept for picture in pictures], concepts)
    return scores
