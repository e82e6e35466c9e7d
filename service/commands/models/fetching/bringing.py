"""A wanted file brought here and verified: by transfer where a host has it, by its digest alone where it lies here."""

import sys
from collections.abc import Callable
from pathlib import Path

import httpx

from service.commands.models.fetching import transfer
from service.commands.models.fetching.gathering import Wanted
from service.commands.models.fetching.places import Offered
from service.commands.models.fetching.record import DigestRecord, DownloadError


class Bringing:
    """`wait` pauses between attempts, in seconds."""

    def __init__(self, client: httpx.Client, record: DigestRecord, wait: Callable[[float], None]) -> None:
        self._client = client
        self._record = record
        self._wait = wait

    def bring(self, wanted: Wanted) -> Path:
        """Raises DownloadError; a download with the wrong sum is removed, a file that was given is left alone."""
        if not isinstance(wanted.found, Offered) or wanted.target.is_file():
            self._record.check(wanted.path, wanted.name, wanted.sha256)
            return wanted.path
        part = self._transferred(wanted, wanted.found)
        try:
            self._record.check(part, wanted.name, wanted.sha256)
        except DownloadError as error:
            transfer.discard(wanted.target)
            raise DownloadError(f"{error.message}; the download is removed") from None
        transfer.accept(wanted.target)
        return wanted.target

    def _transferred(self, wanted: Wanted, offered: Offered) -> Path:
        from tqdm import tqdm  # comes with pandagpt[serve], so it is not there for every command's page of help

        with tqdm(
            desc=wanted.name, total=offered.size, unit="B", unit_scale=True, unit_divisor=1000, file=sys.stderr,
            disable=None,
        ) as bar:  # fmt: skip

            def advance(done: int) -> None:
                bar.update(done - bar.n)

            return transfer.download(self._client, offered, wanted.target, advance, self._wait)
