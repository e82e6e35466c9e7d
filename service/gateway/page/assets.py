"""The page's files, read once at start, and the headers that confine them.

The policy allows scripts, styles and connections of this origin only, and no inline script. `blob:` and `data:` are the
pictures and sounds that the browser itself makes for previews.
"""

import hashlib
import mimetypes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from types import MappingProxyType

INDEX = "index.html"
TYPES = MappingProxyType({".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"})
HEADERS = MappingProxyType(
    {
        "content-security-policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' blob:; "
            "img-src 'self' blob: data:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        ),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "permissions-policy": "camera=(self), microphone=(self), display-capture=(self), accelerometer=(self), "
        "gyroscope=(self), geolocation=()",
        "cache-control": "no-cache",
    }
)


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of the page. `etag` changes with its bytes, so that a browser asks for each once."""

    content: bytes
    media_type: str
    etag: str


def load_assets() -> Mapping[str, Asset]:
    """The files by their path below the page, as `js/main.js`."""
    folder = resources.files("service.gateway.page").joinpath("static")
    return MappingProxyType({path: _asset(path, file.read_bytes()) for path, file in _files(folder, "")})


def media_type(name: str) -> str:
    """The MIME type of a sample by its name."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _files(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry, f"{prefix}{entry.name}/")
        elif _suffix(entry.name) in TYPES:
            yield f"{prefix}{entry.name}", entry


def _asset(path: str, content: bytes) -> Asset:
    return Asset(content, f"{TYPES[_suffix(path)]}; charset=utf-8", f'"{hashlib.sha256(content).hexdigest()[:16]}"')


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
