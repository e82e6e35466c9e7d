"""Forms read from a stream: every bound, hostile bytes in bounded time, and the event loop that runs on."""

import hashlib
from collections.abc import AsyncIterator

import pytest

from service.gateway.errors import GatewayError
from service.gateway.media.multipart import Form, FormLimits, read_form
from tests.security.beside import HELD_S, Watch, least_held, watched

LIMITS = FormLimits({"image": 1 << 20}, max_total_bytes=4 << 20, max_field_bytes=1000, max_files=2, max_fields=5)
TYPE = "multipart/form-data; boundary=b0"


def part(name: str, data: bytes, filename: str | None = None) -> bytes:
    extra = f'; filename="{filename}"' if filename is not None else ""
    return f'--b0\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode() + data + b"\r\n"


END = b"--b0--\r\n"


async def read(body: bytes, step: int = 1 << 16, kind: str | None = TYPE, limits: FormLimits = LIMITS) -> Form:
    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(body), step):
            yield body[at : at + step]

    return await read_form(kind, chunks(), limits)


async def refused(body: bytes, step: int = 1 << 16, kind: str | None = TYPE) -> tuple[str, str | None]:
    with pytest.raises(GatewayError) as caught:
        await read(body, step, kind)
    return caught.value.code, caught.value.param


@pytest.mark.parametrize("step", [1, 7, 1 << 16])
async def test_fields_and_files_come_out_as_sent_however_they_are_cut(step: int) -> None:
    data = b"\r\n--b\r\n\x00\xff--b0" * 10
    form = await read(
        part("prompt", "grüß".encode()) + part("image", data, "../../x\x00.png") + part("a", b"") + END, step
    )
    assert form.fields == {"prompt": ["grüß"], "a": [""]}
    assert [(file.name, file.data) for file in form.files] == [("image", data)]
    assert form.files[0].sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (part("prompt", b"x" * 1001) + END, ("too_large", "prompt")),
        (part("image", bytes((1 << 20) + 1)) + END, ("too_large", "image")),
        (part("image", b"x") * 3 + END, ("invalid_request", "image")),
        (part("a", b"x") * 6 + END, ("invalid_request", None)),
        (part("image", bytes(1 << 20)) * 2 + END + bytes(3 << 20), ("invalid_request", None)),
        (part("prompt", b"\xff\xfe") + END, ("invalid_request", "prompt")),
        (part("prompt", b"x"), ("invalid_request", None)),
        (b"", ("invalid_request", None)),
        (b"a preamble" * 100_000 + part("prompt", b"x") + END, ("invalid_request", None)),
        (part("a/../b", b"x") + END, ("invalid_request", None)),
        (part("a\x00b", b"x") + END, ("invalid_request", None)),
        (part("", b"x") + END, ("invalid_request", None)),
        (b"--b0\r\nX: y\r\n\r\nz\r\n" + END, ("invalid_request", None)),
        (b"--b0\r\n" + b"X: y\r\n" * 1000 + b"\r\nz\r\n" + END, ("invalid_request", None)),
        (
            b"--b0\r\nContent-Disposition: form-data; name=" + b"a" * 100_000 + b"\r\n\r\n\r\n" + END,
            ("invalid_request", None),
        ),
        (b"--b0\r\nno colon at all", ("invalid_request", None)),
    ],
)
async def test_what_is_beyond_a_bound_or_broken_is_refused(body: bytes, refusal: tuple[str, str | None]) -> None:
    assert await refused(body) == refusal


@pytest.mark.parametrize("boundary", [None, "", ";", "; boundary=", "; boundary=" + "x" * 71])
async def test_a_content_type_without_a_usable_boundary_is_refused(boundary: str | None) -> None:
    kind = None if boundary is None else f"multipart/form-data{boundary}"
    assert await refused(part("prompt", b"x") + END, kind=kind) == ("invalid_request", None)


async def test_a_body_without_end_is_cut_at_its_limit() -> None:
    seen = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal seen
        yield part("image", b"", "x")[:-2]
        while True:
            seen += 1
            yield bytes(1 << 16)

    with pytest.raises(GatewayError) as caught:
        await read_form(TYPE, endless(), LIMITS)
    assert caught.value.code == "too_large"
    assert seen <= 17


async def test_a_hundred_thousand_fields_end_at_the_limit() -> None:
    assert await refused(part("a", b"x") * 100_000 + END) == ("invalid_request", None)


@pytest.mark.parametrize("noise", [b"\r\n--b", b"\r", b"\r\n", b"-", b"\x00"])
async def test_hostile_bytes_do_not_hold_the_event_loop(noise: bytes) -> None:
    body = part("image", noise * ((1 << 20) // len(noise)), "x") + END

    async def all_at_once() -> Watch:  # as a test client or a proxy may hand it over
        async with watched() as watch:
            form = await read(body, step=len(body))
        assert len(form.files[0].data) > 1_000_000
        return watch

    watch = await least_held(all_at_once)
    assert watch.stall < HELD_S, watch.staller


def headed(name: str, data: bytes, *headers: str) -> bytes:
    lines = [f'Content-Disposition: form-data; name="{name}"', *headers]
    return b"--b0\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n" + data + b"\r\n"


@pytest.mark.parametrize("charset", ["utf-8", "ISO-8859-1", '"windows-1252"', "utf-16le", "UTF-16"])
async def test_a_text_is_read_in_the_charset_that_its_part_names(charset: str) -> None:
    data = "grüß dich".encode(charset.strip('"'))
    form = await read(headed("prompt", data, f"Content-Type: text/plain; charset={charset}") + part("a", b"b") + END)
    assert form.fields == {"prompt": ["grüß dich"], "a": ["b"]}


@pytest.mark.parametrize(
    "header",
    [
        "Content-Type: text/plain; charset=ebcdic-cp-us",
        "Content-Type: text/plain; charset*=utf-8''latin-1",
        "Content-Transfer-Encoding: base64",
        "content-transfer-encoding: Quoted-Printable",
        "Content-Encoding: gzip",
    ],
)
@pytest.mark.parametrize("name", ["prompt", "image"])
async def test_a_part_in_a_coding_that_is_not_read_is_refused(name: str, header: str) -> None:
    body = headed(name, b"aGVsbG8=\0", header) + END
    if name == "image" and "charset" in header:  # a file's charset is the decoder's affair
        assert (await read(body)).files
        return
    assert await refused(body) == ("invalid_request", name)


async def test_plain_codings_are_read() -> None:
    plain = ("Content-Transfer-Encoding: 8bit", "Content-Encoding: identity")
    file = headed("image", b"\0y", "Content-Transfer-Encoding: binary")
    form = await read(headed("prompt", b"x", *plain) + file + END)
    assert (form.fields, form.files[0].data) == ({"prompt": ["x"]}, b"\0y")
