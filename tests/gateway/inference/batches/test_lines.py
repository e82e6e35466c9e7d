"""Lines of a batch's file: what a line may hold beside its body."""

from collections.abc import AsyncIterator

import pytest

from service.gateway.inference.batches.lines import MAX_ENVELOPE_BYTES, checked

CHAT = "/v1/chat/completions"


async def mistakes(line: str) -> list[str]:
    async def pieces() -> AsyncIterator[bytes]:
        yield line.encode()

    _, errors = await checked(pieces(), CHAT)
    return [error["message"] for error in errors]


def line(front: str = "", back: str = "", body: str = "{}", name: str = "a") -> str:
    return f'{{{front}"custom_id": "{name}", "method": "POST", "url": "{CHAT}", "body": {body}{back}}}'


@pytest.mark.parametrize(
    "doubled",
    [
        line(front='"custom_id": "b", '),
        line(front='"url": "/v1/embeddings", '),
        line(back=', "body": {"messages": []}'),
        line(back=', "body": {}'),
        line(back=', "note": 1, "note": 2'),
        line(front='"b\\u006fdy": {}, '),
        line(back=', "custom_id": "{}"', name="{}"),
    ],
)
async def test_a_line_that_names_a_key_twice_is_refused(doubled: str) -> None:
    assert await mistakes(doubled) == ["Line 1: it names a key twice."]


@pytest.mark.parametrize("body", ["1", '"{}"', "[]", "null", "true"])
async def test_a_body_that_is_no_object_is_refused(body: str) -> None:
    assert await mistakes(line(body=body)) == ["Line 1: body must be an object."]


async def test_a_line_may_hold_little_beside_its_body() -> None:
    assert await mistakes(line(back=f', "note": "{"x" * 1000}"', body='{"body": {"url": 1}}')) == []
    (found,) = await mistakes(line(back=f', "note": "{"x" * MAX_ENVELOPE_BYTES}"'))
    assert str(MAX_ENVELOPE_BYTES) in found
