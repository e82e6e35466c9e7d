"""Pairs to align a tower by: a medium and a picture of the same thing, as a JSON list."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from pandagpt_core.errors import InvalidRequest, PandaGPTError
from pandagpt_core.media import Limits, load
from pandagpt_core.training.tune.data.samples import refuse
from pandagpt_core.types import Modality


class AlignPair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`image` and `file` are names below the media folder; a tower of texts reads `text` instead of a file."""

    image: str
    file: str = ""
    text: str = ""
    params: dict[str, float | str] = {}


@dataclass(frozen=True, slots=True)
class Reader:
    """From a pair to the array that the tower reads."""

    folder: Path
    recipe: str

    def __call__(self, pair: AlignPair) -> np.ndarray:
        """Raises OSError, InvalidMedia."""
        data = pair.text.encode() if pair.text else (self.folder / pair.file).read_bytes()
        return load(self.recipe, data, pair.params, Limits())


def read_pairs(files: Sequence[Path], modality: Modality) -> list[AlignPair]:
    """All pairs of all files. Raises InvalidRequest that names file, index and fault of each bad one."""
    pairs: list[AlignPair] = []
    problems: list[str] = []
    needed = "text" if modality == Modality.TEXT else "file"
    for file in files:
        try:
            found = msgspec.json.decode(file.read_bytes(), type=list[AlignPair])
        except OSError as error:
            raise InvalidRequest(f"cannot read {file}: {error.strerror}") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"{file.name} is no list of pairs: {error}") from None
        pairs += found
        wrong = [index for index, pair in enumerate(found) if not getattr(pair, needed)]
        problems += [f"{file.name}[{index}]: it has no {needed}, which a tower of {modality} reads" for index in wrong]
    refuse(problems, "pairs are wrong")
    return pairs


def check_pairs(pairs: Sequence[AlignPair], reader: Reader) -> None:
    """Read every pair once. Raises InvalidRequest that names index and fault of those that cannot be."""
    problems = []
    for index, pair in enumerate(pairs):
        try:
            reader(pair)
        except OSError as error:
            problems.append(f"pair {index}: {pair.file}: {error.strerror}")
        except PandaGPTError as error:
            problems.append(f"pair {index}: {pair.file or pair.text}: {error.message}")
    refuse(problems, "pairs cannot be read")
