"""The text fields of a form: each once, of its type, and none that would be passed over in silence."""

import hashlib

import pytest

from pandagpt_core.types import Modality
from service.gateway.errors import GatewayError
from service.gateway.inference.parsing.form import from_form, parse_fields
from service.gateway.inference.validated import RequestLimits
from service.gateway.media.multipart import Form, Upload
from service.gateway.media.sources import MediaSources

SOURCES = MediaSources(max_bytes=1 << 20)


def form(*files: Upload, from_files: frozenset[str] = frozenset(), **fields: str | list[str]) -> Form:
    texts = {name: [value] if isinstance(value, str) else value for name, value in {"prompt": "Hi", **fields}.items()}
    return Form(texts, list(files), from_files)


def upload(name: str, data: bytes = b"x") -> Upload:
    return Upload(name, data, hashlib.sha256(data).hexdigest())


def test_numbers_and_booleans_are_read_from_text() -> None:
    found = parse_fields(form(seed="7", stream="true", temperature="0.5")).fields
    assert (found.seed, found.stream, found.temperature) == (7, True, 0.5)


@pytest.mark.parametrize(
    ("given", "param"),
    [
        (form(seed=["1", "2"]), "seed"),
        (form(messages=["[]", "[]"]), "messages"),
        (form(guided_choice=['["a"]', '["b"]']), "guided_choice"),
        (form(stop_token_ids=["[1]", "[1]"]), "stop_token_ids"),
        (form(seed="many"), "seed"),
        (form(weights='{"image": [1, 2]}'), "weights.image"),
        (form(response_format="{"), "response_format"),
        (form(stop_token_ids="[" * 100_000), "stop_token_ids"),
        (form(tools="[]"), "tools"),
        (form(photo="...", from_files=frozenset({"photo"})), "photo"),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(given: Form, param: str) -> None:
    with pytest.raises(GatewayError) as refused:
        parse_fields(given)
    assert (refused.value.code, refused.value.param) == ("invalid_request", param)


async def test_media_keep_their_order_their_weights_and_the_prompts_turn() -> None:
    given = form(upload("image"), upload("image", b"y"), weights='{"image": [1, 0.5], "text": [2]}', text="words")
    request = await from_form(given, SOURCES, RequestLimits())
    assert [(one.where, one.weight, one.turn) for one in request.media] == [
        ("image", 1, 0), ("image[1]", 0.5, 0), ("text", 2, 0)
    ]  # fmt: skip
    assert [one.modality for one in request.media] == [Modality.IMAGE, Modality.IMAGE, Modality.TEXT]


async def test_files_and_texts_count_together() -> None:
    with pytest.raises(GatewayError, match="There are 3 media; the limit is 2"):
        await from_form(form(upload("image"), text=["a", "b"]), SOURCES, RequestLimits(max_media=2))
