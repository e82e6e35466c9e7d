"""One file downloaded: into a `.part` beside its place, from where the last attempt ended, and verified before it is
given its name."""

import time
from collections.abc import Callable
from pathlib import Path

import httpx

from service.commands.models.fetching.checksums import DownloadError
from service.commands.models.fetching.locations import BY_HAND, PLAIN, RemoteFile

ATTEMPTS = 6  # in a row that bring no byte
_AGAIN = (429, 500, 502, 503, 504)
Advance = Callable[[int], None]  # called with the bytes that the `.part` has


class _CutError(Exception):
    """The host broke off; the received part is kept."""


def download(
    client: httpx.Client, remote: RemoteFile, target: Path, advance: Advance, wait: Callable[[float], None] = time.sleep
) -> Path:
    """The complete `.part`, of the size that the host named. Raises DownloadError; the next call goes on from there."""
    part = partial(target)
    part.parent.mkdir(parents=True, exist_ok=True)
    failures = 0
    while True:
        before = _bytes(part)
        try:
            _receive(client, remote, part, advance)
            _check_size(remote, part)
            return part
        except (_CutError, httpx.TransportError) as error:
            failures = failures + 1 if _bytes(part) <= before else 0
            if failures >= ATTEMPTS:
                raise DownloadError(
                    f"{remote.url}: {ATTEMPTS} attempts brought no byte ({error}); {_bytes(part):,} bytes are kept, "
                    "and the same command goes on from there"
                ) from None
            wait(min(2.0**failures, 30))


def partial(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def discard(target: Path) -> None:
    """Remove the `.part` and its mark of the version."""
    _remove(partial(target))


def accept(target: Path) -> None:
    """Give the complete `.part` its name."""
    partial(target).rename(target)
    _mark(partial(target)).unlink(missing_ok=True)


def _receive(client: httpx.Client, remote: RemoteFile, part: Path, advance: Advance) -> None:
    have = _bytes(part)
    if remote.size is not None and have == remote.size:
        return
    with client.stream("GET", remote.url, headers=PLAIN | _range(part, have)) as answer:
        if answer.status_code == 416:  # longer than the file, or of another version
            _remove(part)
            raise _CutError("the part does not fit the file")
        _refuse(remote.url, answer)
        goes_on = answer.status_code == 206 and answer.headers.get("content-range", "").startswith(f"bytes {have}-")
        _remember(part, answer)
        _write(part, answer, have if goes_on else 0, advance)


def _range(part: Path, have: int) -> dict[str, str]:
    """From where the part ends, if the file is still the one that it is a part of (RFC 9110, sections 13.1.5, 14.2)."""
    if not have:
        return {}
    mark = _mark(part)
    same = {"if-range": mark.read_text(encoding="utf-8")} if mark.is_file() else {}
    return {"range": f"bytes={have}-", **same}


def _refuse(url: str, answer: httpx.Response) -> None:
    if answer.status_code in _AGAIN:
        raise _CutError(f"the host answers {answer.status_code}")
    if answer.status_code not in (200, 206):
        raise DownloadError(f"{url}: the host answers {answer.status_code}; {BY_HAND}")
    if answer.headers.get("content-type", "").startswith("text/html"):
        raise DownloadError(f"{url}: a web page came instead of the file; {BY_HAND}")


def _remember(part: Path, answer: httpx.Response) -> None:
    """Keep the strong entity tag, which If-Range needs; a weak one does not promise equal bytes."""
    etag = answer.headers.get("etag", "")
    if etag.startswith('"'):
        _mark(part).write_text(etag, encoding="utf-8")
    else:
        _mark(part).unlink(missing_ok=True)


def _write(part: Path, answer: httpx.Response, start: int, advance: Advance) -> None:
    done = start
    with part.open("ab" if start else "wb") as file:
        for block in answer.iter_raw():
            try:
                file.write(block)
            except OSError as error:
                raise DownloadError(f"{part.name}: cannot write after {done:,} bytes: {error.strerror}") from None
            done += len(block)
            advance(done)


def _check_size(remote: RemoteFile, part: Path) -> None:
    have = _bytes(part)
    if remote.size is None or have == remote.size:
        return
    if have < remote.size:
        raise _CutError(f"{have:,} of {remote.size:,} bytes came")
    _remove(part)
    raise DownloadError(f"{remote.url}: {have:,} bytes came, and {remote.size:,} were named; the part is removed")


def _remove(part: Path) -> None:
    part.unlink(missing_ok=True)
    _mark(part).unlink(missing_ok=True)


def _mark(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
