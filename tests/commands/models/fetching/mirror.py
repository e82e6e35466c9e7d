"""A host of files on loopback: ranges, entity tags, and on demand cuts, sizes that are claimed, and linked digests."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LINKED = "/linked/"


@dataclass
class Mirror:
    """`cuts`: path -> how many bytes the next answers bring before the connection breaks. `claimed`: path -> size."""

    files: dict[str, bytes]
    url: str = ""
    cuts: dict[str, list[int]] = field(default_factory=dict)
    claimed: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    refusals: list[int] = field(default_factory=list)  # statuses of the next GETs
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, path, range

    def ranges(self, path: str) -> list[str | None]:
        """Of the GETs of a path, in their order."""
        return [wanted for method, asked, wanted in self.asked if (method, asked) == ("GET", path)]

    def add(self, folder: Path, at: str) -> None:
        """All files below a folder."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.files[f"/{at}/{file.relative_to(folder).as_posix()}"] = file.read_bytes()


@contextmanager
def mirrored(files: dict[str, bytes]) -> Iterator[Mirror]:
    mirror = Mirror(files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(mirror))
    mirror.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield mirror
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(mirror: Mirror) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            wanted = self.headers["range"]
            mirror.asked.append((self.command, self.path, wanted))
            path = self.path.removeprefix(LINKED.rstrip("/")) if self.path.startswith(LINKED) else self.path
            data = mirror.files.get(path)
            if with_body and mirror.refusals:
                self.send_error(mirror.refusals.pop(0))
            elif data is None:
                self.send_error(404)
            elif path != self.path:
                self._redirect(path, data)
            else:
                self._file(path, data, wanted, with_body)

        def _redirect(self, path: str, data: bytes) -> None:
            self.send_response(302)
            self.send_header("location", path)
            self.send_header("x-linked-size", str(len(data)))
            self.send_header("x-linked-etag", f'"{mirror.kinds.get("digest") or hashlib.sha256(data).hexdigest()}"')
            self.send_header("content-length", "0")
            self.end_headers()

        def _file(self, path: str, data: bytes, wanted: str | None, with_body: bool) -> None:
            etag = f'"{hashlib.md5(data).hexdigest()}"'
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if self.headers["if-range"] not in (None, etag):
                start = 0
            if start and start >= len(data):
                self.send_response(416)
                self.send_header("content-range", f"bytes */{len(data)}")
                self.send_header("content-length", "0")
                self.end_headers()
                return
            body = data[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("content-range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("etag", etag)
            self.send_header("content-type", mirror.kinds.get(path, "application/octet-stream"))
            self.send_header("content-length", str(mirror.claimed.get(path, len(body))))
            self.end_headers()
            if with_body:
                cuts = mirror.cuts.get(path, [])
                self.wfile.write(body[: cuts.pop(0)] if cuts else body)

    return Handler
