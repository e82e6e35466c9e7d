"""The pictures below a folder as a sorted file of names: as many as there are, few of them in memory."""

import hashlib
import heapq
import os
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from pandagpt_core.errors import CheckpointError

RUN, RUNS = 50_000, 200


def names_below(folder: Path, suffixes: Collection[str]) -> Iterator[str]:
    """Names relative to `folder`, with `/`, of files that end in one of `suffixes` whatever their case, in no order.

    Links to folders are not followed. Raises CheckpointError for a name that no line of UTF-8 holds.
    """
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        with os.scandir(folder / prefix) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{prefix}{entry.name}/")
                elif os.path.splitext(entry.name)[1].lower() in suffixes and entry.is_file():
                    yield _line(f"{prefix}{entry.name}")


def write_sorted(names: Iterable[str], path: Path, run: int = RUN, merged: int = RUNS) -> str:
    """A line a name, in the order of their code points; the file's hex SHA-256.

    run: names that are sorted at once. merged: sorted files that are merged at once: each is open.
    """
    waiting, digest = iter(names), hashlib.sha256()
    with TemporaryDirectory(dir=path.parent) as scratch:
        runs = _runs(waiting, Path(scratch), run)
        while len(runs) > merged:
            first = heapq.merge(*map(lines, runs[:merged]))
            runs = [*runs[merged:], _written(first, runs[0].with_suffix(".merged"))]
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for name in heapq.merge(*map(lines, runs)):
                digest.update(f"{name}\n".encode())
                file.write(f"{name}\n")
    return digest.hexdigest()


def lines(path: Path) -> Iterator[str]:
    """One at a time, without the line's end."""
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield line.removesuffix("\n")


def _runs(names: Iterator[str], scratch: Path, run: int) -> list[Path]:
    runs: list[Path] = []
    while some := sorted(islice(names, run)):
        runs.append(_written(some, scratch / str(len(runs))))
    return runs


def _written(names: Iterable[str], path: Path) -> Path:
    path = path.with_name(f"{path.name}-")
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{name}\n" for name in names)
    return path


def _line(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise CheckpointError(f"{name!r} is no name in UTF-8; rename the picture first") from None
    if "\n" in name:
        raise CheckpointError(f"{name!r} has a line break in its name; rename the picture first")
    return name
