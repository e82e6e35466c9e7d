"""The site of all pages at /docs/guide/, where `make docs` has built it.

The site's theme has a few inline scripts. The policy names each by its SHA-256, so that no other inline script runs.
"""

import base64
import hashlib
import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from service.gateway.page.assets import ASK_AGAIN, Asset, make_asset

INDEX = "index.html"
_INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Guide:
    """The files of the site by their path, and the headers of each answer."""

    files: Mapping[str, Asset]
    headers: Mapping[str, str]

    def find(self, path: str) -> Asset | None:
        """The file at this path, or the index of this folder."""
        return self.files.get(path) or self.files.get(f"{path.rstrip('/')}/{INDEX}".lstrip("/"))


def read_guide(folder: Path) -> Guide | None:
    """None where nothing was built."""
    files = {path.relative_to(folder).as_posix(): _asset(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    return Guide(MappingProxyType(files), _headers(files)) if INDEX in files else None


def _asset(path: Path) -> Asset:
    content = path.read_bytes()
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if media_type.startswith("text/"):
        media_type += "; charset=utf-8"
    return make_asset(content, media_type)


def _headers(files: Mapping[str, Asset]) -> Mapping[str, str]:
    pages = (asset.plain.content for path, asset in files.items() if path.endswith(".html"))
    inline = sorted({_hash(script) for page in pages for script in _INLINE.findall(page)})
    scripts = " ".join(["'self'", *inline])
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
        "img-src 'self' data:; font-src 'self'; worker-src 'self'; base-uri 'self'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return MappingProxyType(
        {
            "content-security-policy": policy,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cache-control": ASK_AGAIN,
        }
    )


def _hash(script: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"
