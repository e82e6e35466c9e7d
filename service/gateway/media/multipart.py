"""Multipart bodies, read as they arrive: every part bounded, every medium hashed, nothing kept beyond a limit.

A part's kind follows from its field name, never from a file name or a content type, which are the caller's claims.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.gateway.charset import OF_PARTS, named_charset
from service.gateway.errors import GatewayError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

SLICE = 16 * 1024  # parsed at a time, so that hostile bytes cannot hold the event loop
MAX_EPILOGUE_BYTES = 64 * 1024
MAX_BOUNDARY_CHARS = 70  # RFC 2046, section 5.1.1
# `image[]` and `image[0]`, as PHP and axios write a repeated field, are `image`; `expires_after[seconds]` is a name.
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_-]{0,63}(?:\[[a-z_]{1,32}\])?)(?:\[[0-9]{0,4}\])?")
# Values of a part's headers that leave its bytes as they are.
_PLAIN = {b"content-transfer-encoding": ("binary", "8bit", "7bit"), b"content-encoding": ("identity",)}
MAX_LINE = 1024  # bytes of a text in the place of a file, which may be a link or a name
_LINK = re.compile(r"(?:file:|https?://)\S+")


@dataclass(frozen=True, slots=True)
class FormLimits:
    """Bounds of one form. `file_fields` maps the name of a field that holds a file to its size limit in bytes."""

    file_fields: Mapping[str, int]
    max_total_bytes: int = 64 << 20
    max_field_bytes: int = 1 << 20
    max_files: int = 16
    max_fields: int = 128


@dataclass(frozen=True, slots=True)
class Upload:
    """One file: its field, its bytes, their SHA-256, and the name that the caller gave it, which means nothing.

    `link` stands in place of the bytes: `file:<id>` of an uploaded file, or a URL.
    """

    name: str
    data: bytes
    sha256: str
    filename: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """A whole form: text fields by name in the order sent, and files in the order sent.

    `from_files` are the text fields that were sent as files, as a client does that reads a field from one.
    """

    fields: dict[str, list[str]]
    files: list[Upload]
    from_files: frozenset[str] = frozenset()


def boundary_of(content_type: str | None) -> bytes:
    """The boundary of a multipart content type; raises `invalid_request` when it is another type."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= MAX_BOUNDARY_CHARS:
        raise GatewayError("invalid_request", "The body must be multipart/form-data with a boundary.")
    return boundary


async def read_form(content_type: str | None, body: AsyncIterator[bytes], limits: FormLimits) -> Form:
    """Reads a form from its stream. Raises `too_large` at the first byte over a limit, `invalid_request` if broken."""
    reader = _Reader(limits)
    parser = MultipartParser(boundary_of(content_type), reader.callbacks())
    total = epilogue = 0
    async for chunk in body:
        total += len(chunk)
        if total > limits.max_total_bytes:
            raise too_large("body", limits.max_total_bytes)
        for at in range(0, len(chunk), SLICE):
            if reader.ended:
                epilogue += min(SLICE, len(chunk) - at)
                if epilogue > MAX_EPILOGUE_BYTES:
                    raise GatewayError("invalid_request", "The form goes on after its end.")
                continue
            try:
                parser.write(chunk[at : at + SLICE])
            except FormParserError:
                raise GatewayError("invalid_request", "The form is malformed.") from None
            await asyncio.sleep(0)
    if not reader.ended:
        raise GatewayError("invalid_request", "The form ends too early.")
    return Form(reader.fields, reader.files, frozenset(reader.from_files))


def takes_no_file(name: str, file_fields: Iterable[str]) -> GatewayError:
    return GatewayError(
        "invalid_request", f"{name} takes no file; files go into: {', '.join(file_fields)}.", param=name
    )


def too_large(what: str, limit: int) -> GatewayError:
    return GatewayError("too_large", f"The {what} is larger than the limit of {limit} bytes.", param=what)


@dataclass(slots=True)
class _Reader:
    """Receives the parser's callbacks and holds the part being read."""

    limits: FormLimits
    fields: dict[str, list[str]] = field(default_factory=dict)
    files: list[Upload] = field(default_factory=list)
    from_files: set[str] = field(default_factory=set)
    ended: bool = False
    field_count: int = 0
    headers: dict[bytes, str] = field(default_factory=dict)  # of the part, but its disposition
    header: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    name: str = ""
    filename: str = ""
    charset: str = "utf-8"
    data: bytearray = field(default_factory=bytearray)
    limit: int = 0
    hasher: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self.begin,
            "on_header_field": lambda data, start, end: self.header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self.value.extend(data[start:end]),
            "on_header_end": self.header_end,
            "on_headers_finished": self.headers_finished,
            "on_part_data": self.part_data,
            "on_part_end": self.part_end,
            "on_end": self.end,
        }

    def begin(self) -> None:
        self.name, self.filename, self.data, self.hasher = "", "", bytearray(), hashlib.sha256()
        self.charset = "utf-8"
        self.headers.clear()
        self.header.clear()
        self.value.clear()

    def header_end(self) -> None:
        if self.header.lower() == b"content-disposition":
            kind, options = parse_options_header(bytes(self.value))
            name = options.get(b"name", b"").decode("latin-1")
            if kind == b"form-data" and (plain := _NAME.fullmatch(name)):
                self.name, self.filename = plain[1], options.get(b"filename", b"").decode("latin-1")
        else:
            self.headers[bytes(self.header.lower())] = self.value.decode("latin-1").strip()
        self.header.clear()
        self.value.clear()

    def headers_finished(self) -> None:
        if not self.name:
            raise GatewayError("invalid_request", "A part of the form has no plain field name.")
        self._check_coding()
        if self.name in self.limits.file_fields:
            self.limit = self.limits.file_fields[self.name]
            if len(self.files) == self.limits.max_files:
                raise GatewayError("invalid_request", f"The form has more than {self.limits.max_files} files.")
            return
        self.limit = self.limits.max_field_bytes
        self.field_count += 1
        if self.field_count > self.limits.max_fields:
            raise GatewayError("invalid_request", f"The form has more than {self.limits.max_fields} fields.")

    def _check_coding(self) -> None:
        """Raises `invalid_request` for a part in another coding than its plain bytes: it would be read wrongly."""
        for header, plain in _PLAIN.items():
            if self.headers.get(header, plain[0]).lower() not in plain:
                words = f"{self.name}'s {header.decode()} is not read here; send its bytes plain."
                raise GatewayError("invalid_request", words, param=self.name)
        kind = self.headers.get(b"content-type", "")
        if "charset" in kind.lower() and self.name not in self.limits.file_fields:
            self.charset = named_charset(self.name, kind, OF_PARTS, self.name)

    def part_data(self, data: bytes, start: int, end: int) -> None:
        if len(self.data) + end - start > self.limit:
            raise self._too_much()
        piece = memoryview(data)[start:end]
        self.data += piece
        self.hasher.update(piece)

    def _too_much(self) -> GatewayError:
        if self.name not in self.limits.file_fields and self.filename and b"\0" in self.data:  # no text, of any size
            return takes_no_file(self.name, self.limits.file_fields)
        return too_large(self.name, self.limit)

    def part_end(self) -> None:
        if self.name in self.limits.file_fields:
            self.files.append(self._upload())
        else:
            try:
                self.fields.setdefault(self.name, []).append(self.data.decode(self.charset))
            except UnicodeDecodeError:
                if self.filename:
                    raise takes_no_file(self.name, self.limits.file_fields) from None
                raise GatewayError(
                    "invalid_request", f"{self.name} is not {self.charset.upper()} text.", param=self.name
                ) from None
            if self.filename:
                self.from_files.add(self.name)
        self.data = bytearray()

    def _upload(self) -> Upload:
        """The file, or what a caller wrote in its place. Raises `invalid_request` for a file's name."""
        line = b"" if self.filename or len(self.data) > MAX_LINE else bytes(self.data).strip()
        text = line.decode("utf-8", "replace")
        if _LINK.fullmatch(text):
            return Upload(self.name, b"", "", link=text)
        if text and text.isprintable():
            reason = f"{self.name} is a line of text and no file: is an @ missing? curl -F {self.name}=@FILE"
            raise GatewayError("invalid_request", f"{reason}, or {self.name}=file:<id> of an upload.", param=self.name)
        return Upload(self.name, bytes(self.data), self.hasher.hexdigest(), self.filename)

    def end(self) -> None:
        self.ended = True
