"""Counts a JSON body's structure, and finds an object that names a key twice, while its bytes arrive.

Strings are skipped: a picture in base64 costs nothing, and commas in a text are no structure. So the bound on structure
may be low enough for the parser's time, which grows with values and keys and not with bytes.
"""

import hashlib

import jiter

LONG_STRING = 1024  # bytes; of a longer one the skeleton keeps a digest
_DUPLICATE = "Detected duplicate key"


def bare_slashes(data: bytes) -> bytes:
    """JSON of whole escapes, with `\\/` as `/`, which means the same. A parser's time grows with escapes."""
    if b"\\/" not in data or b"\0" in data:  # a bare NUL is no JSON, and has to stay none
        return data
    return data.replace(b"\\\\", b"\0").replace(b"\\/", b"/").replace(b"\0", b"\\\\")


class JsonScan:
    """`structure`: of , [ { : outside strings. `escapes`: backslashes; those before a slash are removed by `feed`.
    `wide`: bytes near others than ASCII."""

    def __init__(self) -> None:
        self.structure = self.escapes = self.wide = 0
        self._inside = False
        self._carried = b""
        self._skeleton: list[bytes] = []

    def feed(self, chunk: bytes) -> bytes:
        """The bytes to parse, as far as escapes are whole: slashes bare, as some clients escape each one of base64."""
        data = self._carried + chunk
        cut = len(data) - (len(data) - len(data.rstrip(b"\\"))) % 2  # an escape's second half may come later
        data, self._carried = bare_slashes(data[:cut]), data[cut:]
        self.escapes += data.count(b"\\")
        if not data.isascii():
            self.wide += len(data)
        at = 0
        pieces = data.replace(b"\\\\", b"..").replace(b'\\"', b"..").split(b'"')
        for index, piece in enumerate(pieces):
            self._take(data[at : at + len(piece)])
            at += len(piece) + 1
            if index < len(pieces) - 1:
                self._inside = not self._inside
                self._skeleton.append(b'"')
        self.structure += len(pieces) // 4  # quotes alone are work too
        return data

    def rest(self) -> bytes:
        """The bytes that `feed` has kept back: half an escape, with which no JSON ends."""
        return self._carried

    def _take(self, piece: bytes) -> None:
        if self._inside:
            self._skeleton.append(piece if len(piece) <= LONG_STRING else hashlib.sha256(piece).hexdigest().encode())
            return
        self.structure += sum(piece.count(mark) for mark in (b",", b"[", b"{", b":"))
        self._skeleton += piece.split()  # without white space, of which there may be very much

    def has_doubled_key(self) -> bool:
        """Only of a body that is JSON; of any other the parser knows better what is wrong."""
        try:
            jiter.from_json(b"".join(self._skeleton), catch_duplicate_keys=True, cache_mode="none")
        except ValueError as error:
            return str(error).startswith(_DUPLICATE)
        return False
