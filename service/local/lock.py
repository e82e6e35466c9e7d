"""One `pandagpt serve` a state folder: the lock file names its owner."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.settings import SettingsError


@contextmanager
def held(state: Path) -> Iterator[None]:
    """Hold the folder while the body runs. Raises SettingsError when another process holds it.

    The kernel lets go of the lock however the process ends, so nothing stale is left behind.
    """
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = state / "lock"
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        if not _locked(file.fileno()):
            raise _in_use(state, file.read())
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _locked(file: int) -> bool:
    """A second try passes over a process that only looks (`is_held`)."""
    for pause_s in (0.05, 0.0):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(pause_s)
        else:
            return True
    return False


def check_free(state: Path) -> None:
    """Raises SettingsError when a process holds the folder. Makes nothing."""
    if is_held(state):
        raise _in_use(state, (state / "lock").read_text(encoding="ascii", errors="replace"))


def _in_use(state: Path, owner: str) -> SettingsError:
    return SettingsError(
        f"`pandagpt serve` runs already on {state} (process {owner.strip() or 'unknown'}); end that one, or "
        "give this one another folder (PANDAGPT_LOCAL_STATE) and another port (--port)"
    )


def is_held(state: Path) -> bool:
    """Whether a process holds the folder now."""
    try:
        with (state / "lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
