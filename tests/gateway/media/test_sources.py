"""Base64 as clients write it: by lines, URL-safe, without padding; and what is none, wherever a slice ends."""

import base64
import os

import pytest

from service.gateway.errors import GatewayError
from service.gateway.media.sources import SLICE, MediaSources

SOURCES = MediaSources(max_bytes=64 << 20)
SIZES = [1, 2, 3, SLICE * 3 // 4 - 1, SLICE * 3 // 4, SLICE * 3 // 4 + 1, 2 * SLICE + 2]


def spelled(data: bytes) -> dict[str, str]:
    plain = base64.b64encode(data).decode()
    return {
        "plain": plain,
        "lines": base64.encodebytes(data).decode(),
        "lines of CRLF": base64.encodebytes(data).decode().replace("\n", "\r\n"),
        "URL-safe": base64.urlsafe_b64encode(data).decode(),
        "unpadded": plain.rstrip("="),
        "URL-safe, unpadded": base64.urlsafe_b64encode(data).decode().rstrip("="),
        "padding on a line of its own": plain.rstrip("=") + "\n" + "=" * (-len(data) % 3),
    }


@pytest.mark.parametrize("size", SIZES)
async def test_base64_is_read_as_it_is_written(size: int) -> None:
    data = os.urandom(size)
    for name, text in spelled(data).items():
        assert (await SOURCES.base64(text)).data == data, name
        assert (await SOURCES.read(f"data:image/png;base64,{text}")).data == data, name


@pytest.mark.parametrize("before", [0, 4, SLICE - 4, SLICE - 2, SLICE])
@pytest.mark.parametrize("wrong", ["QQ==QUFB", "Q===", "Q", "QUF*", "QUFB====QUFB", "=", "é"])
async def test_what_is_no_base64_is_refused_wherever_it_stands(wrong: str, before: int) -> None:
    if wrong == "Q===" or wrong == "=" or (wrong == "Q" and before % 4):
        wrong += "!"
    with pytest.raises(GatewayError, match="base64"):
        await SOURCES.base64("A" * before + wrong)
