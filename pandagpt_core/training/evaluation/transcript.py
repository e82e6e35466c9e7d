"""Every question of an examination with its answer, the expected one, and the verdict: a line of JSON each.

    seen = Transcript(model)
    report = examine(seen, manifest)
    seen.write(manifest, folder / ANSWERS)

Of pairs each medium is asked about alone too, so one item may have several lines.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pandagpt_core.training.evaluation.answerer import Answerer, Asked, Held
from pandagpt_core.training.evaluation.examine import Names
from pandagpt_core.training.evaluation.manifest import Item, Manifest, TextEntry

ANSWERS = "answers.jsonl"


class Transcript:
    """An `Answerer` that passes on to another and keeps what was asked and answered."""

    def __init__(self, model: Answerer) -> None:
        self._model = model
        self.name = model.name
        self.modalities = model.modalities
        self._kept: list[tuple[Asked, str]] = []

    def answer(self, asked: Sequence[Asked], tokens: int) -> list[str]:
        answers = self._model.answer(asked, tokens)
        self._kept += zip(asked, answers, strict=True)
        return answers

    def embed(self, media: Sequence[Held]) -> np.ndarray:
        return self._model.embed(media)

    def lines(self, manifest: Manifest) -> Iterator[dict[str, Any]]:
        """`verdict` is "exact", "category" (another concept of the right category) or "wrong"; None without a truth."""
        names = Names(manifest.concepts)
        items = _items_by_files(manifest)
        known = (entry for entry in (*manifest.text_only, *manifest.nothing) if not isinstance(entry, str))
        expected = {entry.question: entry for entry in known}
        for asked, answer in self._kept:
            media = [{"modality": one.modality.value, "file": one.name} for one in asked.media]
            line: dict[str, Any] = {"question": asked.question, "media": media, "answer": answer}
            item = items.get(frozenset(one.name for one in asked.media)) if media else None
            if item is not None:
                named = names.named(answer)
                verdict = "exact" if named == item.truth else "category" if names.alike(named, item.truth) else "wrong"
                line |= {"set": item.set, "expected": item.truth, "named": named, "verdict": verdict}
            elif not media:
                line |= _text_verdict(expected.get(asked.question), answer)
            yield line

    def write(self, manifest: Manifest, path: Path) -> Path:
        """The file written."""
        with path.open("w", encoding="utf-8") as file:
            for line in self.lines(manifest):
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        return path


def _items_by_files(manifest: Manifest) -> dict[frozenset[str], Item]:
    """The item of all its files, and of each file of a pair that no item has alone."""
    whole = {frozenset(medium.file for medium in item.media): item for item in manifest.items}
    parts = {frozenset({medium.file}): item for item in manifest.items for medium in item.media}
    return {**parts, **whole}


def _text_verdict(entry: TextEntry | None, answer: str) -> dict[str, Any]:
    if entry is None:
        return {"set": "questions without media", "expected": None, "verdict": None}
    right = entry.right.lower() in answer.lower()
    return {"set": "questions without media", "expected": entry.right, "verdict": "exact" if right else "wrong"}
