"""API keys follow their file: read again when it changes, and on SIGHUP.

A file that cannot be used leaves the keys as they are, with a line in the log: a slip of the pen must not lock
everybody out, nor let anybody in.
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.gateway.access.auth import KeyRing, read_keys
from service.settings import SettingsError

log = logging.getLogger(__name__)
LOOK_S = 2.0  # seconds between looks at the file
Stamp = tuple[int, int, int] | None


@contextmanager
def _on_hangup(call: Callable[[], None]) -> Iterator[None]:
    """SIGHUP calls it, where this loop runs in the main thread; elsewhere the file alone is followed."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGHUP, call)
    except (ValueError, RuntimeError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


class KeysFile:
    """One keys file and the ring that it fills."""

    def __init__(self, file: Path, keys: KeyRing) -> None:
        self._file, self._keys = file, keys
        self._stamp = self._look()
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Read it again now, changed or not. For SIGHUP."""
        self._asked.set()

    async def follow(self, look_s: float = LOOK_S) -> None:
        """Until cancelled."""
        with _on_hangup(self.ask):
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(look_s):
                        await self._asked.wait()
                asked, found = self._asked.is_set(), self._look()
                self._asked.clear()
                if asked or found != self._stamp:
                    self._stamp = found
                    self._read()

    def _read(self) -> None:
        try:
            keys = read_keys(self._file)
        except SettingsError as error:
            log.error("the keys file cannot be used; the keys stay as they were", extra={"reason": str(error)})
            return
        self._keys.replace(keys)
        log.info("the keys were read again", extra={"count": len(keys)})

    def _look(self) -> Stamp:
        try:
            found = self._file.stat()  # follows links: Kubernetes swaps a mounted Secret by one
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
