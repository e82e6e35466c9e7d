"""An entry in the list of contestants, and how it finds a program that it needs."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.lib.absent import Absent
from benchmarks.lib.contestant import Contestant
from benchmarks.lib.options import BenchmarkOptions
from benchmarks.lib.peer_folder import python_of, why_not


@dataclass(frozen=True, slots=True)
class FieldEntry:
    """`make` raises Absent where something it needs is not there. `slow`: left out by --quick."""

    name: str
    make: Callable[[BenchmarkOptions], Contestant]
    slow: bool = False


def found(program: str | None, otherwise: str) -> str:
    """The program's path. Raises Absent with the sentence `otherwise` where there is none."""
    path = shutil.which(program) if program else None
    if path is None:
        raise Absent(otherwise)
    return path


def peer_python(options: BenchmarkOptions, name: str) -> str:
    """The Python of a peer that is named by --peers alone. Raises Absent with the reason."""
    python = str(python_of(options.peers, name)) if options.peers else None
    return found(python, why_not(options.peers, name))
