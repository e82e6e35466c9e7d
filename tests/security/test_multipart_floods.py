"""Threat: multipart floods (Starlette CVE-2024-47874, CVE-2025-54121; python-multipart CVE-2024-53981 and later).

Measures: parts counted and bounded while they arrive, nothing spooled to disk, parsed in slices: an answer of 4xx in
bounded time and memory, and the event loop is never held for 100 ms. The JSON of a form has the bounds of a body.
"""

import asyncio
import json
import re

import httpx
import pytest

from service.gateway.inference.parsing.form import JSON_FIELDS
from service.gateway.inference.parsing.json_body import MAX_STRUCTURE
from tests.conftest import Valkey
from tests.fakes import worker_thread
from tests.security.beside import HELD_S, running, send, watched
from tests.security.neighbours import ask, picture

TYPE = b"multipart/form-data; boundary=b0"
END = b"--b0--\r\n"


def part(name: bytes, data: bytes, filename: bytes | None = None) -> bytes:
    extra = b"" if filename is None else b'; filename="' + filename + b'"'
    return b'--b0\r\nContent-Disposition: form-data; name="' + name + b'"' + extra + b"\r\n\r\n" + data + b"\r\n"


MEGABYTE = 1 << 20
FLOODS: dict[str, tuple[bytes, ...]] = {
    "100,000 fields": (part(b"a", b"x") * 100_000, END),
    "100,000 different fields": (b"".join(part(b"f%d" % n, b"x") for n in range(100_000)), END),
    "100,000 files": (part(b"image", b"", b"x") * 100_000, END),
    "a field of 30 megabytes": (part(b"prompt", b"x" * (30 * MEGABYTE)), END),
    "a file in a field of no file": (part(b"prompt", b"x" * (2 * MEGABYTE), b"x.png"), END),
    "../ in a name": (part(b"../../etc/passwd", b"x"), END),
    "NUL in a name": (part(b"a\0b", b"x"), END),
    "a name of a megabyte": (part(b"a" * MEGABYTE, b"x"), END),
    "a file name of a megabyte": (part(b"image", b"x", b"a" * MEGABYTE), END),
    "100,000 headers in a part": (b"--b0\r\n" + b"X: y\r\n" * 100_000 + b"\r\nz\r\n", END),
    "a header of a megabyte": (b"--b0\r\nX: " + b"y" * MEGABYTE + b"\r\n\r\nz\r\n", END),
    "a megabyte of preamble": (b"preamble\r\n" * 100_000, part(b"prompt", b"x"), END),
    "a megabyte of line ends before": (b"\r\n" * 500_000, part(b"prompt", b"x"), END),
    "a megabyte after the end": (part(b"prompt", b"x"), END, b"more " * 200_000),
    "an endless boundary": (b"--b0" * 2_000_000,),
    "near-boundaries": (part(b"image", b"\r\n--b" * MEGABYTE, b"x")[:-2],),
    "no end": (part(b"prompt", b"x"),),
    "nothing": (b"",),
    "a boundary inside": (b"--b0\r\n--b0\r\n--b0\r\n",),
    "a charset of nonsense": (
        b"--b0\r\nContent-Disposition: form-data; name*=utf-9''%ff%00; name=\"p\"\r\n\r\nx\r\n",
        END,
    ),
    "RFC 2047 nonsense": (part(b"=?utf-8?b?" + b"A" * 5000 + b"?=", b"x"), END),
}

HARMLESS = ("a megabyte of line ends before",)


def request(body: bytes, kind: bytes = TYPE, declared: int | None = None) -> bytes:
    size = len(body) if declared is None else declared
    return (
        b"POST /v1/generate HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: %s\r\n" % kind
        + b"content-length: %d\r\n\r\n" % size
    )


async def test_every_flood_ends_in_a_4xx_in_bounded_memory_and_never_holds_the_loop(valkey: Valkey) -> None:
    bodies = {what: b"".join(pieces) for what, pieces in FLOODS.items()}  # none is made in the watched loop
    with worker_thread(valkey.settings):
        async with running(valkey, header_timeout_s=10.0, max_header_bytes=32_768) as (_, port), watched() as watch:
            for what, body in bodies.items():
                watch.start, watch.most = watch.most or watch.start, 0
                hostile = send(port, [request(body), *(body[at : at + 262_144] for at in range(0, len(body), 262_144))])
                answer, neighbour = await asyncio.gather(hostile, asyncio.to_thread(ask_beside, port))
                assert neighbour == 200, what
                if what in HARMLESS and answer.split()[1] == b"200":
                    continue
                status, error = read(answer)
                assert 400 <= status < 500, (what, answer[:300])
                assert error in ("invalid_request", "too_large"), what
                assert len(answer) < 4096
                assert watch.grown < 60 * MEGABYTE, what
            assert watch.stall < HELD_S, watch.staller


def biases(keys: int) -> bytes:
    return json.dumps(dict.fromkeys(range(keys), 1)).encode()


JSON_FLOODS: dict[str, tuple[tuple[str, ...], tuple[bytes, ...]]] = {
    "80,000 keys": (("logit_bias",), (part(b"logit_bias", biases(80_000)),)),
    "all fields of JSON": (JSON_FIELDS, tuple(part(name.encode(), biases(80_000)) for name in JSON_FIELDS)),
    "messages": (("messages",), (part(b"messages", b"[" + b'{"role": "user", "content": "x"},' * 31_000 + b"0]"),)),
    "escapes": (JSON_FIELDS, tuple(part(name.encode(), b'"' + b"\\n" * 500_000 + b'"') for name in JSON_FIELDS)),
    "a few less": (("logit_bias",), (part(b"logit_bias", biases(29_000)),)),
}


async def test_no_json_in_a_form_holds_the_loop(valkey: Valkey) -> None:
    async with running(valkey, header_timeout_s=10.0) as (_, port), watched() as watch:
        for what, (fields, parts) in JSON_FLOODS.items():
            body = b"".join((part(b"prompt", b"x"), *parts, END))
            answer = await send(port, [request(body), body])
            assert read(answer) == (400, "invalid_request"), what
            error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
            assert error["param"] in fields, what
        assert watch.stall < HELD_S, watch.staller


async def test_the_bound_on_json_counts_all_fields_of_a_form_together_and_is_named(valkey: Valkey) -> None:
    half = b"[" + b"1," * (MAX_STRUCTURE * 2 // 3) + b"1]"
    body = part(b"prompt", b"x") + part(b"stop_token_ids", half) + part(b"bad_words", half) + END
    async with running(valkey, header_timeout_s=10.0) as (_, port):
        answer = await send(port, [request(body) + body])
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "bad_words")
    assert re.search(rf"bad_words, has too many elements: \d+ or more; the limit is {MAX_STRUCTURE}", error["message"])


@pytest.mark.parametrize(
    ("name", "value"), [(b"logit_bias", b'{"5": 1, "5": 2}'), (b"weights", b'{"text": [], "text": []}')]
)
async def test_a_key_that_comes_twice_in_json_of_a_form_is_refused(valkey: Valkey, name: bytes, value: bytes) -> None:
    body = part(b"prompt", b"x") + part(name, value) + END
    async with running(valkey, header_timeout_s=10.0) as (_, port):
        answer = await send(port, [request(body) + body])
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert (error["code"], error["param"]) == ("invalid_request", name.decode())
    assert "twice" in error["message"]


async def test_slow_uploads_with_hostile_media_among_them_never_hold_the_loop(valkey: Valkey) -> None:
    whole = picture(3)
    media = {200: whole, 400: whole[: len(whole) // 2]}

    def upload(number: int, status: int) -> list[bytes]:
        body = (
            part(b"prompt", b"What is it?") + part(b"max_tokens", b"2") + part(b"image", media[status], b"x.png") + END
        )
        slices = 10 + number % 20
        size = -(-len(body) // slices)
        return [request(body), *(body[at : at + size] for at in range(0, len(body), size))]

    wanted = [400 if number % 5 == 0 else 200 for number in range(100)]
    with worker_thread(valkey.settings):
        async with running(valkey, header_timeout_s=10.0, max_header_bytes=32_768) as (_, port), watched() as watch:
            uploads = [send(port, upload(number, status), pause_s=0.05) for number, status in enumerate(wanted)]
            answers = await asyncio.gather(*uploads)
    statuses = [int(answer.split()[1]) for answer in answers]
    # A machine that decodes slower than a hundred callers send turns some away, as the limit of waiting media says.
    assert all(status in (right, 503) for status, right in zip(statuses, wanted, strict=True))
    assert statuses.count(503) <= 100 - 64
    assert watch.stall < HELD_S, watch.staller
    assert watch.grown < 60 * MEGABYTE


def read(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


def ask_beside(port: int) -> int:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
        return ask(client, picture(3)).status_code


NO_FORMS = (
    b"multipart/form-data",
    b"multipart/form-data; boundary=",
    b"multipart/form-data; boundary=" + b"x" * 20_000,
    b"multipart/form-data; boundary=b0; boundary=b1" + b"; x=y" * 4000,
    b'multipart/form-data; boundary="' + b"\\" * 20_000,
    b"multipart/mixed; boundary=b0",
    b"application/x-www-form-urlencoded",
    b"text/plain",
    b"; =; =",
)


async def test_a_content_type_that_is_none_is_refused_at_once(valkey: Valkey) -> None:
    body = part(b"prompt", b"x") + END
    async with running(valkey, header_timeout_s=10.0, max_header_bytes=65_536) as (_, port), watched() as watch:
        for kind in NO_FORMS:
            assert read(await send(port, [request(body, kind) + body]))[0] in (400, 431), kind[:60]
    assert watch.stall < HELD_S, watch.staller


async def test_a_body_that_is_declared_too_large_is_not_read(valkey: Valkey) -> None:
    async with running(valkey, header_timeout_s=10.0, max_header_bytes=32_768) as (_, port):
        assert read(await send(port, [request(b"", declared=10**15)])) == (413, "too_large")
        assert read(await send(port, [request(b"", declared=2**63)])) == (413, "too_large")


async def test_the_same_holds_for_uploads_to_keep(valkey: Valkey) -> None:
    async with running(valkey, header_timeout_s=10.0, max_header_bytes=32_768) as (_, port), watched() as watch:
        for what in ("100,000 fields", "100,000 files", "a name of a megabyte", "an endless boundary"):
            body = b"".join(FLOODS[what])
            head = request(body).replace(b"/v1/generate", b"/v1/files")
            assert 400 <= read(await send(port, [head, body]))[0] < 500
        assert watch.stall < HELD_S, watch.staller
        assert watch.grown < 60 * MEGABYTE
