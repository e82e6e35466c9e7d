"""A medium from its part: its bytes and their hash, the field in errors, vectors that are numbers."""

import base64
import hashlib
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from pandagpt_core.types import Modality
from service.gateway.errors import GatewayError
from service.gateway.media import medium
from service.gateway.media.medium import MediaInput, guessed_modality, read_part, read_vector
from service.gateway.media.sources import MediaSources
from service.gateway.schema.content_parts import Message

BASE64 = base64.b64encode(b"bytes").decode()
AT = "messages[0].content[0]"


async def read(part: dict[str, Any], sources: MediaSources | None = None) -> MediaInput:
    message = TypeAdapter(Message).validate_python({"role": "user", "content": [part]})
    return await read_part(message.content[0], AT, 0, sources or MediaSources(max_bytes=1 << 20))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("part", "modality", "where"),
    [
        ({"type": "image_url", "image_url": {"url": f"data:;base64,{BASE64}"}}, "image", f"{AT}.image_url.url"),
        ({"type": "input_audio", "input_audio": {"data": BASE64}}, "audio", f"{AT}.input_audio.data"),
        ({"type": "file", "file": {"file_data": BASE64, "filename": "a.MP4"}}, "video", f"{AT}.file.file_data"),
    ],
)
async def test_a_part_gives_its_bytes_their_hash_and_its_field(part: Any, modality: str, where: str) -> None:
    found = await read(part)
    assert (found.modality.value, found.data, found.where) == (modality, b"bytes", where)
    assert found.sha256 == hashlib.sha256(b"bytes").hexdigest()


async def test_a_refusal_names_the_parts_field() -> None:
    with pytest.raises(GatewayError) as refused:
        await read({"type": "image_url", "image_url": {"url": "ftp://example.com/a"}})
    assert refused.value.param == f"{AT}.image_url.url"


async def test_a_part_with_a_uuid_is_remembered_by_the_hash_of_its_bytes() -> None:
    kept: dict[str, str] = {}

    async def remember(uuid: str, sha256: str) -> None:
        kept[uuid] = sha256

    part = {"type": "image_url", "image_url": {"url": f"data:;base64,{BASE64}"}, "uuid": "cover"}
    await read(part, MediaSources(max_bytes=1 << 20, remember=remember))
    assert kept == {"cover": hashlib.sha256(b"bytes").hexdigest()}


@pytest.mark.parametrize("bad", ["no base64", "QQ==", [float("nan")], [float("inf")], [1e7]])
def test_a_vector_of_anything_but_bounded_numbers_is_refused(bad: Any) -> None:
    with pytest.raises(GatewayError) as refused:
        read_vector(bad)
    assert refused.value.code == "invalid_request"


def test_a_vector_is_the_same_as_numbers_and_as_base64() -> None:
    row = np.asarray([0.5, -2.0], "<f4").tobytes()
    assert read_vector([0.5, -2.0]) == read_vector(base64.b64encode(row).decode()) == row


@pytest.mark.parametrize(
    ("filename", "url", "modality"),
    [("a.png", "", "image"), ("", "data:audio/x-any;base64,", "audio"), ("a.exe", "x", None)],
)
def test_a_modality_is_guessed_of_a_type_or_a_suffix(filename: str, url: str, modality: str | None) -> None:
    assert guessed_modality(filename, url) == modality


def test_what_changes_a_models_input_changes_the_identity() -> None:
    one = MediaInput(Modality.IMAGE, b"", "11", 0, "image")
    others = [
        MediaInput(Modality.VIDEO, b"", "11", 0, "image"),
        MediaInput(Modality.IMAGE, b"", "22", 0, "image"),
        MediaInput(Modality.IMAGE, b"", "11", 1, "image"),
        MediaInput(Modality.IMAGE, b"", "11", 0, "image", {"unit": "m"}),
        MediaInput(Modality.IMAGE, b"", "11", 0, "image", weight=0.5),
        MediaInput(Modality.IMAGE, b"", "11", 0, "image", is_vector=True),
    ]
    assert one.identity == MediaInput(Modality.IMAGE, b"data", "11", 0, "elsewhere").identity
    assert one.identity not in [other.identity for other in others]


async def test_a_long_text_is_hashed_as_a_short_one() -> None:
    for words in ("a", "a" * medium.HASH_IN_THREAD):
        assert (await medium.text_medium(words, "text", 0)).sha256 == hashlib.sha256(words.encode()).hexdigest()
