"""One fetch at a time for a folder of downloads; each file there verified before it has its name.

Two fetches that append to one `.part` would make a file of neither.
"""

import fcntl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from service.commands.models.fetching import transfer
from service.commands.models.fetching.checksums import Checksums, DownloadError
from service.commands.models.fetching.locations import RemoteFile
from service.commands.models.fetching.resolver import PlannedFile
from service.settings import SettingsError

LOCK = ".lock"


@contextmanager
def locked(downloads: Path) -> Iterator[None]:
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


class Downloader:
    """Transfers a wanted file where a host has it, and checks its digest alone where it lies on this machine.

    `wait` pauses between attempts, in seconds.
    """

    def __init__(self, client: httpx.Client, checksums: Checksums, wait: Callable[[float], None]) -> None:
        self._client = client
        self._checksums = checksums
        self._wait = wait

    def fetch(self, wanted: PlannedFile) -> Path:
        """Raises DownloadError; a download with the wrong sum is removed, a file that was given is left alone."""
        if not isinstance(wanted.found, RemoteFile) or wanted.target.is_file():
            self._checksums.check(wanted.path, wanted.name, wanted.sha256)
            return wanted.path
        part = self._transferred(wanted, wanted.found)
        try:
            self._checksums.check(part, wanted.name, wanted.sha256)
        except DownloadError as error:
            transfer.discard(wanted.target)
            raise DownloadError(f"{error.message}; the download is removed") from None
        transfer.accept(wanted.target)
        return wanted.target

    def _transferred(self, wanted: PlannedFile, remote: RemoteFile) -> Path:
        from tqdm import tqdm  # comes with pandagpt[serve], so it is not there for every command's page of help

        with tqdm(
            desc=wanted.name, total=remote.size, unit="B", unit_scale=True, unit_divisor=1000, file=sys.stderr,
            disable=None,
        ) as bar:  # fmt: skip

            def advance(done: int) -> None:
                bar.update(done - bar.n)

            return transfer.download(self._client, remote, wanted.target, advance, self._wait)
