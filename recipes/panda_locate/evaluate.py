"""Figures of a panda-locate folder on scenes that it never met, through the runtime that serves it."""

import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pandagpt_core.training.evaluation.answerer import Answerer, Asked, Held
from pandagpt_core.training.evaluation.measures import Rate
from pandagpt_core.types import Modality
from recipes.panda_locate.questions import LocateQuestion, ask
from recipes.panda_locate.scenes import DrawnScene
from recipes.panda_locate.scoring import score

QUESTIONS = 10
_TOKENS = 150
# Share of right answers by chance, where there is a guess: one of the colours, one of the ninths.
_CHANCE = {"colour": 1 / 8, "where": 1 / 9}


def examined(model: Answerer, scenes: Iterable[DrawnScene], seed: int) -> dict[str, Any]:
    """Of each kind of question the share that was right, and of places how many that were named are none."""
    drawn = [
        (ask(scene.things, np.random.default_rng((seed, at)), QUESTIONS), scene) for at, scene in enumerate(scenes)
    ]
    return answered(model, drawn)


def answered(model: Answerer, pictures: Iterable[tuple[Sequence[LocateQuestion], DrawnScene]]) -> dict[str, Any]:
    """The same, of questions that are given."""
    asked: list[tuple[LocateQuestion, Asked]] = []
    for index, (questions, scene) in enumerate(pictures):
        held = Held(Modality.IMAGE, png(scene), name=f"scene-{index}.png")
        asked += [(question, Asked(question.text, (held,))) for question in questions]
    answers = model.answer([one for _, one in asked], _TOKENS)
    return judged([question for question, _ in asked], answers)


def judged(questions: Sequence[LocateQuestion], answers: Sequence[str]) -> dict[str, Any]:
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for question, answer in zip(questions, answers, strict=True):
        for at, value in enumerate(score(question, answer)):
            sums[question.kind][at] += value
    return {kind: _row(kind, *sums[kind]) for kind in sorted(sums)}


def _row(kind: str, hits: int, wanted: int, given: int) -> dict[str, Any]:
    precision = {"precision": round(hits / max(given, 1), 4)} if kind in ("detection", "grounding", "refer") else {}
    return {**Rate(wanted, hits, _CHANCE.get(kind)).to_dict(), **precision}


def png(scene: DrawnScene) -> bytes:
    out = io.BytesIO()
    scene.picture.save(out, "PNG", compress_level=1)
    return out.getvalue()
