"""perception.json of a model folder: names, and the numbers by which a name is called sure."""

from pathlib import Path
from typing import Annotated

import msgspec

from pandagpt_core.errors import CheckpointError
from pandagpt_core.perception.reading import NamedConcept
from pandagpt_core.types import Modality

PERCEPTION = "perception.json"
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Logistic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The probability that a name is right: 1 / (1 + exp(-(bias + weights . features)))."""

    bias: float
    weights: tuple[float, ...]


class EvidenceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Evidence about the names that a question asks for (`perception.evidence`).

    words: other words for a name ("people": "person"). covers: by name, its other names. beside: by name, the classes
    in whose pictures it usually stands too. usual: of each class its mean probability over pictures. regressions: by
    modality and sources (joined by "+"), the probability that a name is there, fitted on questions whose answer is as
    often yes as no.
    """

    words: dict[str, str]
    covers: dict[str, tuple[str, ...]]
    beside: dict[str, tuple[str, ...]]
    usual: tuple[float, ...]
    regressions: dict[Modality, dict[str, Logistic]]


class NameTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """concepts: in the order of the recall's directions. classes: ImageNet's, `concept_of` the concept that each is,
    -1 for none. things: COCO's kinds.

    concept: by modality, of the recalled concept: best cosine, its share, the share of the second, and for pictures its
    share by the classes and the largest class. named: of ImageNet's best class: its probability's logit, the best
    cosine. thing: of a detected thing that is the subject: the detector's score, its area. shape: of a shape looked at
    by itself: cosine, share, the second's share. sure, kind, seen, shape_seen: least probabilities of a name, of
    a kind, and of one thing among several, detected or a shape. asked: of names that a question asks for; none where
    the folder has no such evidence.
    """

    concepts: tuple[NamedConcept, ...]
    classes: tuple[NamedConcept, ...]
    concept_of: tuple[int, ...]
    things: tuple[NamedConcept, ...]
    concept: dict[Modality, Logistic]
    named: Logistic
    thing: Logistic
    shape: Logistic
    kinds: tuple[str, ...]
    sure: _Share = 0.5
    kind: _Share = 0.6
    seen: _Share = 0.35
    shape_seen: _Share = 0.25
    asked: EvidenceTable | None = None


def read_name_table(path: Path) -> NameTable:
    """Raises CheckpointError."""
    try:
        return msgspec.json.decode((path / PERCEPTION).read_bytes(), type=NameTable)
    except (OSError, msgspec.DecodeError) as error:
        raise CheckpointError(f"{PERCEPTION}: {error}") from error


def write_name_table(path: Path, table: NameTable) -> None:
    (path / PERCEPTION).write_bytes(msgspec.json.format(msgspec.json.encode(table), indent=1) + b"\n")
