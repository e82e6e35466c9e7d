"""The page's files, read once at start: plain and compressed, each under an address that changes with the page.

The policy allows scripts, styles and connections of this origin only, and no inline script. `blob:` and `data:` are the
pictures and sounds that the browser itself makes for previews.
"""

import gzip
import hashlib
import mimetypes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from types import MappingProxyType

from service.gateway.page import modules

INDEX = "index.html"
ROOT = "/page/"  # the page's files
MAIN = "js/main.js"
PRELOAD = b"<!-- the modules of main.js -->"
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
    }
)
ASK_AGAIN = "no-cache"  # kept, and compared by its etag at each use
FOR_GOOD = "public, max-age=31536000, immutable"  # RFC 8246


@dataclass(frozen=True, slots=True)
class Coded:
    """A file's bytes as they are sent, and their etag, which differs between codings (RFC 9110, 8.8.3.3)."""

    content: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of the page."""

    plain: Coded
    gzip: Coded
    media_type: str


@dataclass(frozen=True, slots=True)
class Assets:
    """The files by their path below the page, as `js/main.js`. `version` names them all together."""

    files: Mapping[str, Asset]
    version: str

    def find(self, path: str) -> tuple[Asset | None, str]:
        """The file of a path with or without a version in front, and how long a browser may keep it.

        Under another version's address (a gateway before an upgrade has sent it) the file comes, and is not kept.
        """
        version, _, rest = path.partition("/")
        if version == self.version:
            return self.files.get(rest), FOR_GOOD
        return self.files.get(rest if version.startswith(_MARK) else path), ASK_AGAIN


_MARK = "v-"


def load_assets() -> Assets:
    """All files; the index names the others by the version, and the modules that are needed at once."""
    folder = resources.files("service.gateway.page").joinpath("static")
    found = {path: file.read_bytes() for path, file in _files(folder, "")} | {modules.REGISTRY: modules.registry()}
    digest = hashlib.sha256()
    for path in sorted(found):
        digest.update(path.encode() + b"\0" + hashlib.sha256(found[path]).digest())
    version = f"{_MARK}{digest.hexdigest()[:12]}"
    found[INDEX] = _index(found, version)
    return Assets(MappingProxyType({path: _asset(path, content) for path, content in found.items()}), version)


def media_type(name: str) -> str:
    """The MIME type of a sample by its name."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def coded(content: bytes) -> Coded:
    """The bytes with a strong validator of them."""
    return Coded(content, f'"{hashlib.sha256(content).hexdigest()[:16]}"')


def make_asset(content: bytes, media_type: str) -> Asset:
    """The file in both codings."""
    return Asset(coded(content), coded(gzip.compress(content, mtime=0)), media_type)


def _index(files: Mapping[str, bytes], version: str) -> bytes:
    needed = modules.needed_at_once(MAIN, files)
    links = "\n    ".join(f'<link rel="modulepreload" href="{ROOT}{path}" />' for path in needed)
    return files[INDEX].replace(PRELOAD, links.encode()).replace(b'"/page/', f'"{ROOT}{version}/'.encode())


def _files(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry, f"{prefix}{entry.name}/")
        elif _suffix(entry.name) in TYPES:
            yield f"{prefix}{entry.name}", entry


def _asset(path: str, content: bytes) -> Asset:
    return make_asset(content, f"{TYPES[_suffix(path)]}; charset=utf-8")


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
