"""The training set: conversations tokenized, features of their media in a store, and every fault reported."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pandagpt_core.training.batch import IGNORED, Batch, MediumTokens, collate
from pandagpt_core.training.conversations import TokenizedExample
from pandagpt_core.training.tune.data.encode import EncodeOutcome
from pandagpt_core.training.tune.data.features import FeatureStore
from pandagpt_core.training.tune.data.layout import TurnLayout
from pandagpt_core.training.tune.data.samples import ChatSample, Medium, refuse
from pandagpt_core.types import Modality


@dataclass(frozen=True, slots=True)
class TrainExample:
    """One conversation, its media and their keys in the feature store, and the number of its file."""

    tokenized: TokenizedExample
    keys: tuple[str, ...]
    file: int = 0
    modalities: tuple[Modality, ...] = ()


@dataclass(frozen=True, slots=True)
class SoftTokens:
    """k of a resampler, and the tower whose tokens it reads of a modality."""

    count: int
    tower_of: Callable[[Modality], str]


@dataclass(frozen=True, slots=True)
class TrainSet:
    """All examples over the store of their media. `soft`: with a resampler, k and the tower of each modality."""

    examples: Sequence[TrainExample]
    store: FeatureStore
    soft: SoftTokens | None = None

    def batch(self, indices: Iterable[int]) -> Batch:
        examples = [self.examples[index] for index in indices]
        media = [[row for key in example.keys for row in self._rows(key)] for example in examples]
        tokenized = [example.tokenized for example in examples]
        batch = collate([one.ids for one in tokenized], [one.targets for one in tokenized], media, self.store.width)
        return batch if self.soft is None else replace(batch, media=tuple(self._tokens(self.soft, examples)))

    def _rows(self, key: str) -> Tensor:
        """[n, E]; for a resampler k times the vector."""
        rows = self.store[key].reshape(-1, self.store.width)
        return rows if self.soft is None else rows.expand(self.soft.count, -1)

    def _tokens(self, soft: SoftTokens, examples: Iterable[TrainExample]) -> Iterator[MediumTokens]:
        for example in examples:
            for key, modality in zip(example.keys, example.modalities, strict=True):
                yield self.store.tokens(key, soft.tower_of(modality))

    @property
    def digest(self) -> str:
        """Names the examples: token ids, targets, media."""
        digest = hashlib.sha256()
        for example in self.examples:
            digest.update(repr((example.tokenized.ids, example.tokenized.targets, example.keys)).encode())
        return digest.hexdigest()


def media_of(samples: Iterable[ChatSample]) -> list[Medium]:
    """Each medium once, in an order of its own."""
    return sorted({medium for sample in samples for medium in sample.media}, key=repr)


def examples_of(
    samples: Sequence[ChatSample],
    outcome: EncodeOutcome,
    tokenize: TurnLayout,
    context: int,
    report: Callable[[str], object],
    *,
    skip: bool,
    one_medium: bool = False,
) -> list[TrainExample]:
    """Lay out every sample whose media are there, and that fits the model's `context`.

    Raises InvalidRequest that names file, index and fault of the others; with `skip` they are reported and left out.
    one_medium: whether the system learns from one medium of a conversation.
    """
    examples: list[TrainExample] = []
    problems: list[str] = []
    for sample in samples:
        faults = [f"{one.file}: {outcome.problems[one]}" for one in sample.media if one in outcome.problems]
        try:
            tokenized = tokenize(sample.turns, bool(sample.media))
        except ValueError as error:
            tokenized, faults = TokenizedExample((), ()), [*faults, str(error)]
        if not faults and all(target == IGNORED for target in tokenized.targets[1:]):
            faults.append(
                f"nothing of its answers is within the {len(tokenized.ids)} tokens that data.max_tokens leaves"
            )
        if len(sample.media) > 1 and one_medium:
            faults.append(f"it has {len(sample.media)} pictures; this system learns from one at a time")
        if len(tokenized.ids) > context:
            faults.append(f"it has {len(tokenized.ids)} tokens, the model's context holds {context}")
        problems += [f"{sample.where}: {fault}" for fault in faults]
        if not faults:
            keys = tuple(outcome.keys[one] for one in sample.media)
            examples.append(TrainExample(tokenized, keys, sample.file, tuple(one.modality for one in sample.media)))
    if not skip or not examples:
        refuse(problems, "conversations cannot be learned from")
    for problem in problems:
        report(f"left out {problem}")
    return examples


def num_loss_tokens(batches: Iterable[Batch], device: torch.device) -> Tensor:
    """Positions that are learned in these batches, as a tensor that processes can sum."""
    return torch.tensor(float(sum(batch.learned for batch in batches)), device=device)
