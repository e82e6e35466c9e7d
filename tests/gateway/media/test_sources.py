"""Base64 as clients write it: by lines, URL-safe, without padding; and what is none, wherever a slice ends."""

import asyncio
import base64
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@settings(max_examples=40, deadline=None)
@given(
    data=st.binary(min_size=1, max_size=300),
    ends=st.sampled_from(["\n", "\r\n"]),
    width=st.integers(1, 80),
    bare=st.booleans(),
)
@pytest.mark.parametrize("write", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_of_any_lines_alphabet_and_padding_is_the_same_bytes(write, data, ends, width, bare) -> None:
    text = write(data).decode().rstrip("=") if bare else write(data).decode()
    lines = ends.join(text[at : at + width] for at in range(0, len(text), width))
    for spelled_so in (lines, f"data:audio/wav;base64,{lines}"):
        read = SOURCES.read if spelled_so.startswith("data:") else SOURCES.base64
        assert asyncio.run(read(spelled_so)).data == data
