"""One fetch at a time for a folder of downloads: two that append to one `.part` would make a file of neither."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.settings import SettingsError

LOCK = ".lock"


@contextmanager
def alone(downloads: Path) -> Iterator[None]:
    """Raises SettingsError where another process holds the folder. The kernel lets go however a process ends."""
    downloads.mkdir(parents=True, exist_ok=True)
    with (downloads / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"another `pandagpt fetch` uses {downloads}: wait for its end, or name another folder with --downloads"
            ) from None
        yield
