"""Embeddings: strings and parts, as numbers or base64, refused where there is nothing to embed."""

import base64

import httpx
import numpy as np
import pytest

from pandagpt_core import media
from pandagpt_core.media import samples
from pandagpt_core.types import Modality
from tests.fakes import DIM, FakeRuntime, fake_embedding

PNG = samples.picture("PNG")
PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}"}}


def embed(http: httpx.Client, given: object, **fields: object) -> httpx.Response:
    return http.post("/v1/embeddings", json={"input": given, **fields})


def expected(modality: Modality, recipe: str, data: bytes) -> np.ndarray:
    embedding = fake_embedding(modality, media.load(recipe, data, {}, media.Limits()))
    return FakeRuntime().unit(modality, embedding)


def test_a_string_is_embedded_by_the_text_tower(steady_http: httpx.Client) -> None:
    answer = embed(steady_http, "a dog").json()
    assert (answer["object"], answer["model"]) == ("list", "fake")
    (row,) = answer["data"]
    assert (row["object"], row["index"], len(row["embedding"])) == ("embedding", 0, DIM)
    np.testing.assert_allclose(row["embedding"], expected(Modality.TEXT, "clip-bpe-v1", b"a dog"), rtol=1e-6)
    assert np.linalg.norm(row["embedding"]) == pytest.approx(1.0)


def test_strings_and_parts_keep_their_order(steady_http: httpx.Client) -> None:
    rows = embed(steady_http, ["a dog", PICTURE, {"type": "context_text", "context_text": "a dog"}, "a cat"]).json()[
        "data"
    ]
    assert [row["index"] for row in rows] == [0, 1, 2, 3]
    assert rows[0]["embedding"] == rows[2]["embedding"] != rows[3]["embedding"]
    np.testing.assert_allclose(rows[1]["embedding"], expected(Modality.IMAGE, "imagebind-image-v1", PNG), rtol=1e-6)


def test_base64_holds_the_same_numbers(steady_http: httpx.Client) -> None:
    plain = embed(steady_http, PICTURE).json()["data"][0]["embedding"]
    packed = embed(steady_http, PICTURE, encoding_format="base64").json()["data"][0]["embedding"]
    assert np.frombuffer(base64.b64decode(packed), "<f4").tolist() == plain


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ""}, "input[0]"),
        ({"input": [1, 2]}, "input[0]"),
        ({"input": [[1, 2]]}, "input[0]"),
        ({"input": None}, "input[0]"),
        ({"input": ["x"] * 33}, "input"),
        ({"input": "x", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "x", "dimensions": 5}, "dimensions"),
        ({"input": "x", "dimensions": -1}, "dimensions"),
    ],
)
def test_wrong_fields_are_named(steady_http: httpx.Client, fields: dict[str, object], param: str) -> None:
    answer = steady_http.post("/v1/embeddings", json=fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_bad_media_are_refused(steady_http: httpx.Client) -> None:
    bad = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    error = embed(steady_http, ["fine", bad]).json()["error"]
    assert (error["code"], error["param"]) == ("invalid_media", "input[1].image_url.url")
