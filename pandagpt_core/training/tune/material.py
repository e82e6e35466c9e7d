"""What a run learns from: conversations laid out, their media encoded and kept, everything that is wrong told."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pandagpt_core.training.batch import IGNORED, Batch, collate
from pandagpt_core.training.conversations import Laid
from pandagpt_core.training.tune.encode import Outcome
from pandagpt_core.training.tune.features import FeatureStore
from pandagpt_core.training.tune.layout import Layout
from pandagpt_core.training.tune.samples import Medium, Sample, refuse


@dataclass(frozen=True, slots=True)
class Lesson:
    """One conversation, and the keys of its media in the store."""

    laid: Laid
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Material:
    """All lessons over the store of their media."""

    lessons: Sequence[Lesson]
    store: FeatureStore

    def batch(self, indices: Iterable[int]) -> Batch:
        lessons = [self.lessons[index] for index in indices]
        media: list[list[Tensor]] = [[self.store[key] for key in lesson.keys] for lesson in lessons]
        laid = [lesson.laid for lesson in lessons]
        return collate([one.ids for one in laid], [one.targets for one in laid], media, self.store.width)

    @property
    def digest(self) -> str:
        """Names the lessons: token ids, targets, media."""
        said = hashlib.sha256()
        for lesson in self.lessons:
            said.update(repr((lesson.laid.ids, lesson.laid.targets, lesson.keys)).encode())
        return said.hexdigest()


def media_of(samples: Iterable[Sample]) -> list[Medium]:
    """Each medium once, in an order of its own."""
    return sorted({medium for sample in samples for medium in sample.media}, key=repr)


def lessons_of(
    samples: Sequence[Sample],
    outcome: Outcome,
    lay: Layout,
    context: int,
    tell: Callable[[str], object],
    *,
    skip: bool,
) -> list[Lesson]:
    """Lay out every sample whose media are there, and that fits the model's `context`.

    Raises InvalidRequest that names file, index and fault of the others; with `skip` they are told and left out.
    """
    lessons: list[Lesson] = []
    problems: list[str] = []
    for sample in samples:
        faults = [f"{one.file}: {outcome.problems[one]}" for one in sample.media if one in outcome.problems]
        try:
            laid = lay(sample.said, bool(sample.media))
        except ValueError as error:
            laid, faults = Laid((), ()), [*faults, str(error)]
        if not faults and all(target == IGNORED for target in laid.targets[1:]):
            faults.append(f"nothing of its answers is within the {len(laid.ids)} tokens that data.max_tokens leaves")
        if len(laid.ids) > context:
            faults.append(f"it has {len(laid.ids)} tokens, the model's context holds {context}")
        problems += [f"{sample.where}: {fault}" for fault in faults]
        if not faults:
            lessons.append(Lesson(laid, tuple(outcome.keys[medium] for medium in sample.media)))
    if not skip or not lessons:
        refuse(problems, "conversations cannot be learned from")
    for problem in problems:
        tell(f"left out {problem}")
    return lessons


def learned_in(batches: Iterable[Batch], device: torch.device) -> Tensor:
    """Positions that are learned in these batches, as a tensor that processes can sum."""
    return torch.tensor(float(sum(batch.learned for batch in batches)), device=device)
