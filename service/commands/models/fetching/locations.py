"""Locations that may hold an original: a local folder, a mirror of the same layout, the address its authors publish."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import httpx

from service.commands.models.fetching.checksums import DownloadError
from service.commands.models.fetching.originals import Original
from service.settings import SettingsError

_LINKED_DIGEST, _LINKED_SIZE = "x-linked-etag", "x-linked-size"  # Hugging Face's, of the redirect to the file
_HEX_DIGITS = 64
_REDIRECTS = 10
BY_HAND = "download it by hand and name its folder with --from"
PLAIN = {"accept-encoding": "identity"}  # sizes and ranges count the file's own bytes


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file that lies on this machine already."""

    path: Path


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that a host offers; its size in bytes and SHA-256 where the host sends them."""

    url: str
    size: int | None = None
    sha256: str | None = None


class Location(Protocol):
    def find(self, original: Original, name: str = "") -> LocalFile | RemoteFile | None:
        """The original's file, or that of `name` in its folder. Raises DownloadError where the host does not answer."""
        ...


class LocalFolder:
    """A folder with the table's paths below it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, original: Original, name: str = "") -> LocalFile | None:
        path = self._folder / original.path / name
        return LocalFile(path) if path.is_file() else None


class MirrorSite:
    """An address with the table's paths below it."""

    def __init__(self, client: httpx.Client, address: str) -> None:
        self._client = client
        self._address = address.rstrip("/")

    def find(self, original: Original, name: str = "") -> RemoteFile | None:
        return ask(self._client, _joined(f"{self._address}/{quote(original.path)}", name))


class Publisher:
    """The authors' own addresses."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def find(self, original: Original, name: str = "") -> RemoteFile | None:
        if original.url is None:
            return None
        found = ask(self._client, _joined(original.url, name))
        return found if found is None or original.sha256 is None else replace(found, sha256=original.sha256)


def given_location(client: httpx.Client, word: str) -> Location:
    """`--from`: an address or a folder. Raises SettingsError."""
    if word.startswith(("http://", "https://")):
        return MirrorSite(client, word)
    if not Path(word).is_dir():
        raise SettingsError(f"--from {word}: there is no such folder, and an address begins with https://")
    return LocalFolder(Path(word))


def ask(client: httpx.Client, url: str) -> RemoteFile | None:
    """None where the host has no such file. Raises DownloadError."""
    try:
        answer = _answer(client, url)
    except httpx.HTTPError as error:
        raise DownloadError(f"{url}: no answer ({type(error).__name__})") from None
    if answer.status_code in (404, 410):
        return None
    if answer.status_code != 200 and not _is_linked(answer):
        raise DownloadError(f"{url}: the host answers {answer.status_code}; {BY_HAND}")
    return RemoteFile(url, _size(answer), _digest(answer))


def _answer(client: httpx.Client, url: str) -> httpx.Response:
    """The last of the redirects, or the first that describes the file itself."""
    answer = client.head(url, headers=PLAIN, follow_redirects=False)
    for _ in range(_REDIRECTS):
        if answer.next_request is None or _is_linked(answer):
            break
        answer = client.send(answer.next_request, follow_redirects=False)
    return answer


def _is_linked(answer: httpx.Response) -> bool:
    return answer.is_redirect and _LINKED_SIZE in answer.headers


def _size(answer: httpx.Response) -> int | None:
    text = answer.headers.get(_LINKED_SIZE if _is_linked(answer) else "content-length", "")
    return int(text) if text.isdecimal() else None


def _digest(answer: httpx.Response) -> str | None:
    """Of a small file the host sends another sum, of 40 digits."""
    text: str = answer.headers.get(_LINKED_DIGEST, "").strip('"').lower()
    return text if len(text) == _HEX_DIGITS else None


def _joined(address: str, name: str) -> str:
    return f"{address}/{quote(name)}" if name else address
