"""A JSON body is read within bounds: size, structure, escapes; of one type, one charset and without doubled keys."""

import pytest
from starlette.requests import Request

from service.gateway.errors import GatewayError
from service.gateway.inference.parsing.json_body import (
    ESCAPE_BYTES,
    MAX_STRUCTURE,
    MAX_WORK,
    WIDE_BYTES,
    read_json_body,
)
from service.gateway.schema.requests import ChatBody

BODY = b'{"messages": [{"role": "user", "content": "Hi"}], "seed": 4}'


async def read(body: bytes, content_type: bytes = b"application/json", step: int = 1 << 16) -> ChatBody:
    pieces = [body[at : at + step] for at in range(0, len(body), step)]

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", content_type)]}
    return await read_json_body(Request(scope, receive), ChatBody)


@pytest.mark.parametrize("kind", [b"application/json", b"Application/JSON; charset=UTF-8", b"application/json;x=1"])
@pytest.mark.parametrize("step", [1, 7, 1 << 16])
async def test_a_body_is_read_however_it_is_cut(kind: bytes, step: int) -> None:
    assert (await read(BODY, kind, step)).seed == 4


@pytest.mark.parametrize("kind", [b"text/plain", b"application/jsonp", b""])
async def test_another_type_is_refused(kind: bytes) -> None:
    with pytest.raises(GatewayError) as refused:
        await read(BODY, kind)
    assert refused.value.code == "invalid_request"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"[" * (MAX_STRUCTURE + 1), "too_large", "body"),
        (b'"' + rb"\n" * (MAX_WORK // ESCAPE_BYTES + 1) + b'"', "too_large", "body"),
        (b'"' + "é".encode() * (MAX_WORK // (1 + WIDE_BYTES) // 2 + 1) + b'"', "too_large", "body"),
        (b'{"seed": 1, "seed": 2}', "invalid_request", "body"),
        (b'{"messages": [{"role": "user", "content": 5}]}', "invalid_request", "messages[0].content"),
        (BODY + b"\\", "invalid_request", None),
    ],
)
async def test_a_refusal_has_its_code_and_field(body: bytes, code: str, param: str | None) -> None:
    with pytest.raises(GatewayError) as refused:
        await read(body)
    assert (refused.value.code, refused.value.param) == (code, param)


async def test_a_json_body_ends_at_a_limit_of_its_own() -> None:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": piece, "more_body": True}

    piece = b" " * (1 << 20)
    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with pytest.raises(GatewayError, match=f"{64 << 20} bytes; send large media as a form") as refused:
        await read_json_body(request, ChatBody)
    assert (refused.value.code, refused.value.param) == ("too_large", "body")
