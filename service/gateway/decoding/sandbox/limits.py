"""Limits of a process's resources (setrlimit)."""

import os
import resource


def memory(size: int) -> None:
    _limit(resource.RLIMIT_AS, size)


def write_nothing() -> None:
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)


def open_nothing() -> None:
    _limit(resource.RLIMIT_NOFILE, _open_descriptors())


def _limit(kind: int, value: int) -> None:
    resource.setrlimit(kind, (value, value))


def _open_descriptors() -> int:
    """One more than the highest descriptor in use."""
    for number in range(255, -1, -1):
        try:
            os.fstat(number)
        except OSError:
            continue
        return number + 1
    return 0
