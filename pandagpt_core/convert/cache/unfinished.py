"""A cache of image features while it is made, on disk: the rows as they come, and a byte for each picture that is done.

Rows are written before the bytes that stand for them, so rows of a crash beyond those are cut off. Memory holds one
batch, for any number of rows.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pandagpt_core.convert.cache.picture_list import lines, write_sorted
from pandagpt_core.errors import CheckpointError

ABOUT = "about.json"
BLOCK = 1 << 20  # bytes of a file that are read at once
KEPT, SKIPPED = 1, 0


@dataclass(frozen=True, slots=True)
class Built:
    """Rows of the cache, and pictures that could not be decoded."""

    rows: int
    skipped: int

    @property
    def pictures(self) -> int:
        return self.rows + self.skipped


class UnfinishedCache:
    """place: its folder. width: of a row, in floats."""

    def __init__(self, place: Path, width: int) -> None:
        self._place, self._width = place, width
        self._names, self._done, self.vectors = place / "pictures.txt", place / "done.u8", place / "vectors.f32"

    def begin(self, encoder: str, names: Iterable[str]) -> Built:
        """Counts of the finished pictures of these names by this encoder; cuts off the remains of a crash first.

        Raises CheckpointError for none, and for work that another encoder or other pictures began.
        """
        with TemporaryDirectory(dir=self._place.parent) as scratch:
            listed = Path(scratch) / "pictures.txt"
            about = {"encoder": encoder, "pictures": write_sorted(names, listed)}
            if not listed.stat().st_size:
                raise CheckpointError("there are no pictures")
            if not (self._place / ABOUT).is_file():
                self._start(listed, about)
        if json.loads((self._place / ABOUT).read_text(encoding="utf-8")) != about:
            name = self._place.name
            raise CheckpointError(f"{name} was begun with another encoder or other pictures; remove it first")
        return self._settled()

    def todo(self, done: int) -> Iterator[str]:
        """The names of the pictures behind the first `done`."""
        return islice(lines(self._names), done, None)

    def total(self) -> int:
        """Pictures, done or not."""
        return sum(block.count(b"\n") for block in self._blocks(self._names))

    def add(self, decoded: Sequence[bool], rows: np.ndarray) -> None:
        """Of the next pictures: which of them could be decoded, and the rows [n, E] of those, float32."""
        for path, data in ((self.vectors, rows.tobytes()), (self._done, bytes(decoded))):
            with path.open("ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())

    def names(self) -> Iterator[str]:
        """The picture of each row."""
        return compress(lines(self._names), (flag for block in self._blocks(self._done) for flag in block))

    def rows(self) -> Iterator[bytes]:
        """All rows, in blocks."""
        return self._blocks(self.vectors)

    def count(self) -> Built:
        """Counts of the finished pictures."""
        kept = sum(block.count(KEPT) for block in self._blocks(self._done))
        return Built(kept, self._done.stat().st_size - kept)

    def _start(self, listed: Path, about: dict[str, str]) -> None:
        """The note of what it is made of comes last."""
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir()
        shutil.move(listed, self._names)
        self._done.touch()
        self.vectors.touch()
        half = self._place / f"{ABOUT}.half"
        half.write_text(json.dumps(about), encoding="utf-8")
        half.replace(self._place / ABOUT)

    def _settled(self) -> Built:
        built = self.count()
        size = built.rows * self._width * 4
        if self.vectors.stat().st_size < size:
            raise CheckpointError(f"{self._place.name} is damaged: rows are missing; remove it first")
        os.truncate(self.vectors, size)
        return built

    @staticmethod
    def _blocks(path: Path) -> Iterator[bytes]:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                yield block
