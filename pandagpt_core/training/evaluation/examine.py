"""The examination: names of items, search in the shared space, sums of media, and changes against the base."""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from pandagpt_core.training.evaluation.answerer import Answerer, Asked, Held
from pandagpt_core.training.evaluation.manifest import ConceptEntry, Item, Manifest, MediumEntry, TextEntry
from pandagpt_core.training.evaluation.measures import Mean, Rate, first_named, gain, mean_by, rate
from pandagpt_core.training.evaluation.report import EvaluationReport, Pair, PlainText, Row
from pandagpt_core.types import Modality

ALL = "all sets"
# First words of an answer that describes a picture; a question without one must not cause such an answer.
PICTURED = re.compile(
    r"\W*(i (can )?(see|hear)\b"
    r"|(this|it) (is|looks like|sounds like|shows) (an? |the )?(picture|image|photo|drawing|sound|video|recording)\b"
    r"|(in )?(the|this|that) (picture|image|photo|photograph|drawing|scene|sound|video|recording|medium)\b)",
    re.IGNORECASE,
)
TaskProgress = Callable[[str, int], object]  # the task, and its number of questions


@dataclass(frozen=True, slots=True)
class NamedItems:
    """The name that each item of a set of one medium got, by answer or search, and its truth."""

    measure: str
    set: str
    modality: str
    answers: tuple[str | None, ...]
    truths: tuple[str, ...]


class Names:
    """Concepts by their names: which one an answer names, and of which category."""

    def __init__(self, concepts: Sequence[ConceptEntry]) -> None:
        self._of = {name.lower(): one.name for one in concepts for name in (one.name, *one.aliases)}
        self._category = {one.name: one.category or one.name for one in concepts}
        self._sizes = Counter(self._category.values())

    def named(self, answer: str) -> str | None:
        found = first_named(answer, list(self._of))
        return None if found is None else self._of[found]

    def alike(self, one: str | None, other: str) -> bool:
        return one is not None and self._category[one] == self._category[other]

    def chances(self, truths: Sequence[str]) -> tuple[float, float]:
        """Of a guess among all concepts: to name the truth, and one of its category."""
        every = len(self._category)
        alike = sum(self._sizes[self._category[truth]] for truth in truths) / len(truths) / every
        return round(1 / every, 4), round(alike, 4)

    def row(self, found: NamedItems) -> Row:
        chance, alike = self.chances(found.truths)
        pairs = list(zip(found.answers, found.truths, strict=True))
        exact = [one == truth for one, truth in pairs]
        near = [self.alike(one, truth) for one, truth in pairs]
        return Row(
            found.measure,
            found.set,
            found.modality,
            rate(exact, chance),
            rate(near, alike),
            mean_by(found.truths, exact),
        )


def examine(
    model: Answerer,
    manifest: Manifest,
    base: Answerer | None = None,
    progress: TaskProgress = lambda _what, _count: None,
) -> EvaluationReport:
    """Runs all measures that the manifest allows and the model can; the report lists the others, with the reason.

    base: the untouched language model, to compare the answers to questions without media.
    """
    names = Names(manifest.concepts)
    left_out = [*manifest.left_out] + [
        f"{of} ({modality}): {model.name} takes no {modality}"
        for of, modality in sorted({(i.set, m.modality) for i in manifest.items for m in i.media})
        if modality not in model.modalities
    ]
    items = [item for item in manifest.items if all(medium.modality in model.modalities for medium in item.media)]
    single = _grouped(item for item in items if len(item.media) == 1)
    several = _grouped(item for item in items if len(item.media) > 1)
    found = [_answers(model, manifest, names, of, group, progress) for of, group in single.items()]
    if Modality.TEXT in model.modalities:
        found += _retrieval(model, manifest, single, progress)
    elif single:
        left_out.append(f"retrieval: {model.name} takes no text as a medium")
    pairs = [_pair(model, manifest, names, of, group, progress) for of, group in several.items()]
    plain = None
    if manifest.text_only and base is not None:
        plain = _plain(model, base, manifest, progress)
    elif manifest.text_only:
        left_out.append("questions without media: no base model to hold the answers against")
    rows = [names.row(one) for one in (*found, *_unions(found, manifest.unions))]
    nothing = _nothing(model, manifest, progress) if manifest.nothing else None
    return EvaluationReport(model.name, manifest.name, tuple(rows), tuple(pairs), plain, nothing, tuple(left_out))


_Group = tuple[str, tuple[Modality, ...]]


def _grouped(items: Iterable[Item]) -> dict[_Group, list[Item]]:
    """Items by set and modalities, in the manifest's order."""
    groups: dict[_Group, list[Item]] = {}
    for item in items:
        groups.setdefault((item.set, tuple(medium.modality for medium in item.media)), []).append(item)
    return groups


def _held(manifest: Manifest, medium: MediumEntry) -> Held:
    return Held(medium.modality, manifest.data(medium), tuple(sorted(medium.params.items())), medium.file)


def _names(
    model: Answerer, manifest: Manifest, names: Names, media: Sequence[Sequence[MediumEntry]]
) -> list[str | None]:
    asked = [Asked(manifest.question, tuple(_held(manifest, medium) for medium in one)) for one in media]
    return [names.named(answer) for answer in model.answer(asked, manifest.max_tokens)]


def _answers(
    model: Answerer, manifest: Manifest, names: Names, of: _Group, items: Sequence[Item], progress: TaskProgress
) -> NamedItems:
    progress(f"{of[0]}, {of[1][0]}", len(items))
    answers = _names(model, manifest, names, [item.media for item in items])
    return NamedItems("answer", of[0], of[1][0], tuple(answers), tuple(item.truth for item in items))


def _unions(found: Sequence[NamedItems], unions: Mapping[str, Sequence[str]]) -> Iterator[NamedItems]:
    """The manifest's unions, and of each measure and modality that has several sets, all of them."""
    groups: dict[tuple[str, str], list[NamedItems]] = {}
    for one in found:
        groups.setdefault((one.measure, one.modality), []).append(one)
    for (measure, modality), group in groups.items():
        for name, sets in {**unions, ALL: [one.set for one in group]}.items():
            parts = [one for one in group if one.set in sets]
            if len(parts) > 1:
                answers = chain.from_iterable(part.answers for part in parts)
                truths = chain.from_iterable(part.truths for part in parts)
                yield NamedItems(measure, name, modality, tuple(answers), tuple(truths))


def _retrieval(
    model: Answerer, manifest: Manifest, groups: Mapping[_Group, Sequence[Item]], progress: TaskProgress
) -> list[NamedItems]:
    """The concept whose text lies nearest."""
    texts = [Held(Modality.TEXT, (one.text or one.name).encode(), (), one.name) for one in manifest.concepts]
    progress("retrieval", len(texts) + sum(map(len, groups.values())))
    table = model.embed(texts)  # [C, E]
    found = []
    for (of, (modality, *_)), items in groups.items():
        seen = model.embed([_held(manifest, item.media[0]) for item in items])  # [N, E]
        nearest = tuple(manifest.concepts[at].name for at in np.argmax(seen @ table.T, axis=1))
        found.append(NamedItems("retrieval", of, modality, nearest, tuple(item.truth for item in items)))
    return found


def _pair(
    model: Answerer, manifest: Manifest, names: Names, of: _Group, items: Sequence[Item], progress: TaskProgress
) -> Pair:
    """All media of each item at once, and each alone."""
    progress(f"{of[0]}, {' and '.join(of[1])}", len(items) * (1 + len(of[1])))
    truths = [item.truth for item in items]
    chance, _ = names.chances(truths)
    ways: list[list[tuple[MediumEntry, ...]]] = [[item.media for item in items]]
    ways += [[(item.media[at],) for item in items] for at in range(len(of[1]))]
    right = [
        [one == truth for one, truth in zip(_names(model, manifest, names, way), truths, strict=True)] for way in ways
    ]
    together, *alone = right
    return Pair(
        of[0],
        tuple(of[1]),
        rate(together, chance),
        tuple(rate(one, chance) for one in alone),
        tuple(gain(together, one) for one in alone),
    )


def _plain(model: Answerer, base: Answerer, manifest: Manifest, progress: TaskProgress) -> PlainText:
    progress("questions without media", 2 * len(manifest.text_only))
    entries = manifest.text_only
    asked = [Asked(entry if isinstance(entry, str) else entry.question) for entry in entries]
    ours, theirs = (one.answer(asked, manifest.text_tokens) for one in (model, base))
    return PlainText(
        rate([bool(PICTURED.match(answer)) for answer in ours]),
        rate([bool(PICTURED.match(answer)) for answer in theirs]),
        rate([one.strip() == other.strip() for one, other in zip(ours, theirs, strict=True)]),
        Mean(tuple(agreement(one, other) for one, other in zip(ours, theirs, strict=True))),
        _right(entries, ours),
        _right(entries, theirs),
    )


def _nothing(model: Answerer, manifest: Manifest, progress: TaskProgress) -> Rate:
    progress("questions about a medium that is not given", len(manifest.nothing))
    answers = model.answer([Asked(entry.question) for entry in manifest.nothing], manifest.text_tokens)
    hits = [entry.right.lower() in answer.lower() for entry, answer in zip(manifest.nothing, answers, strict=True)]
    return rate(hits)


def _right(entries: Sequence[str | TextEntry], answers: Sequence[str]) -> Rate | None:
    pairs = zip(entries, answers, strict=True)
    hits = [entry.right.lower() in answer.lower() for entry, answer in pairs if not isinstance(entry, str)]
    return rate(hits) if hits else None


def agreement(one: str, other: str) -> float:
    """Share of words that two answers have in common in one order, 1 for equal ones (Ratcliff and Obershelp)."""
    words = one.split(), other.split()
    return difflib.SequenceMatcher(None, *words, autojunk=False).ratio() if any(words) else 1.0
