"""The media that URLs point to: the bytes of a data URL, an uploaded file, or (where configured) a remote file.

Base64 is decoded and hashed in slices, so that a large picture never holds the event loop.
"""

import asyncio
import binascii
import hashlib
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from service.gateway.errors import GatewayError

SLICE = 1 << 20  # base64 characters decoded at a time; a multiple of 4
_DATA_URL = re.compile(r"data:[A-Za-z0-9!#$&^_.+/;=\" -]{0,256},")
_FILE = "file:"
_URL_SAFE = str.maketrans("-_", "+/")


@dataclass(frozen=True, slots=True)
class Content:
    """A medium's bytes and their SHA-256 (hex)."""

    data: bytes
    sha256: str


Opener = Callable[[str], Awaitable[Content]]
Recall = Callable[[str], Awaitable[str]]
Remember = Callable[[str, str], Awaitable[None]]


async def _no_files(_file_id: str) -> Content:
    raise GatewayError("file_not_found", "There is no such file.")


async def _no_uuids(_uuid: str) -> str:
    raise GatewayError("invalid_request", "Media have no uuid here: send their bytes.")


async def _no_fetching(_url: str) -> Content:
    raise GatewayError("invalid_request", "Fetching URLs is off here: send a data URL or upload a file.")


@dataclass(slots=True)
class SizeBudget:
    """Bytes of one request's files and downloads, up to `limit`: a short body can name large ones many times."""

    limit: int
    total: int = 0

    async def read(self, opener: Opener, link: str) -> Content:
        """As the opener, but raises `too_large` beyond the limit."""
        blob = await opener(link)
        self.total += len(blob.data)
        if self.total > self.limit:
            raise GatewayError("too_large", f"The media are larger together than the limit of {self.limit} bytes.")
        return blob


@dataclass(frozen=True, slots=True)
class MediaSources:
    """Opens links. `open_file` gets a file's id, `fetch` an http(s) URL; both refuse where they are not offered.

    `recall` gets a caller's name of a medium and gives the SHA-256 of its bytes, which `remember` got with that name.
    """

    max_bytes: int
    open_file: Opener = _no_files
    recall: Recall = _no_uuids
    remember: Remember | None = None
    fetch: Opener = _no_fetching

    async def read(self, url: str) -> Content:
        if url[:5].lower() == "data:":
            return await self._data_url(url)
        if url.startswith(_FILE):
            return await self.open_file(url.removeprefix(_FILE))
        if url[:8].lower().startswith(("http://", "https://")):
            return await self.fetch(url)
        raise GatewayError("invalid_request", "must be a data URL, file:<id> or an http(s) URL")

    async def _data_url(self, url: str) -> Content:
        head = _DATA_URL.match(url)
        if head is None or not head.group().endswith(";base64,"):
            raise GatewayError("invalid_request", "must be a base64 data URL: data:<type>;base64,<data>")
        return await self.base64(url, head.end())

    async def base64(self, text: str, start: int = 0) -> Content:
        """The bytes that `text[start:]` spells. Raises `invalid_request`, `too_large`."""
        if (len(text) - start) // 4 * 3 - 2 > self.max_bytes:
            raise GatewayError("too_large", f"The medium is larger than the limit of {self.max_bytes} bytes.")
        for pieces in (_as_it_stands, _loosely):
            with suppress(ValueError):
                return await _decoded(pieces(text, start))
        raise GatewayError("invalid_request", "is not valid base64")


async def _decoded(pieces: Iterator[str]) -> Content:
    """Raises ValueError for text that is not plain base64."""
    decoded, hasher, padded = [], hashlib.sha256(), False
    for piece in pieces:
        if padded:
            raise ValueError("there is more behind the padding")
        padded = piece.endswith("=")
        decoded.append(binascii.a2b_base64(piece, strict_mode=True))
        hasher.update(decoded[-1])
        await asyncio.sleep(0)
    return Content(b"".join(decoded), hasher.hexdigest())


def _as_it_stands(text: str, start: int) -> Iterator[str]:
    return (text[at : at + SLICE] for at in range(start, len(text), SLICE))


def _loosely(text: str, start: int) -> Iterator[str]:
    """Base64 with line ends, in the URL-safe alphabet or without padding (RFC 4648, 3.1, 3.2, 5) as plain base64, a
    slice at a time; so much of it is not cleaned at once that the event loop would stand still."""
    held = ""
    for at in range(start, len(text), SLICE):
        bare = held + "".join(text[at : at + SLICE].split()).translate(_URL_SAFE)
        whole = len(bare.rstrip("=")) // 4 * 4  # padding is the end's, if nothing follows it
        held = bare[whole:]
        if whole:
            yield bare[:whole]
    if held := held.rstrip("="):
        yield held + "=" * (-len(held) % 4)
