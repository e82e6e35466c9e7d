"""Embeddings: strings and parts, as numbers or base64, refused where there is nothing to embed."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace

import httpx
import numpy as np
import pytest

from pandagpt_core import media
from pandagpt_core.media import samples
from pandagpt_core.types import Modality
from service.gateway.state import GatewayState
from tests.conftest import Valkey
from tests.fakes import DIM, FAKE_INFO, FakeRuntime, fake_embedding, worker_thread

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
        ({"input": [-1, 2]}, "input[0].tokens[0]"),
        ({"input": [[]]}, "input[0].tokens"),
        ({"input": [60_000]}, "input[0]"),
        ({"input": None}, "input[0]"),
        ({"input": ["x"] * 2049}, "input"),
        ({"input": [PICTURE] * 33}, "input"),
        ({"input": "x", "truncate": "end", "chunk": "mean"}, "chunk"),
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


WORDS = " ".join(f"word{number}" for number in range(60))  # each of them is two tokens or more


def vectors(answer: httpx.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.array([row["embedding"] for row in answer.json()["data"]])


def test_a_text_beyond_the_window_is_refused_with_the_limit_and_its_place(steady_http: httpx.Client) -> None:
    answer = embed(steady_http, ["fits", WORDS])
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "input[1]")
    assert re.search(r"has \d+ tokens; the model's text tower reads 75 at once", error["message"])


@pytest.mark.parametrize(
    ("truncate", "kept"), [(True, slice(0, 75)), ("END", slice(0, 75)), ("start", slice(-75, None))]
)
def test_truncate_cuts_the_start_or_the_end_and_counts_what_is_left(
    steady_http: httpx.Client, truncate: object, kept: slice
) -> None:
    ids = text_ids(WORDS)
    cut = embed(steady_http, WORDS, truncate=truncate)
    assert (vectors(cut) == vectors(embed(steady_http, [ids[kept]]))).all()
    assert cut.json()["usage"]["prompt_tokens"] == 77


def test_a_text_in_pieces_is_the_mean_of_them_by_their_tokens(steady_http: httpx.Client) -> None:
    ids = text_ids(WORDS)
    pieces = [ids[at : at + 75] for at in range(0, len(ids), 75)]
    assert len(pieces) > 1
    parts = vectors(embed(steady_http, pieces))
    mean = (parts * [[len(piece) + 2] for piece in pieces]).sum(axis=0)
    whole = embed(steady_http, ["short", WORDS, PICTURE], chunk="mean")
    np.testing.assert_allclose(vectors(whole)[1], mean / np.linalg.norm(mean), atol=1e-6)
    assert (vectors(whole)[[0, 2]] == vectors(embed(steady_http, ["short", PICTURE]))).all()
    used = whole.json()["usage"]
    assert used["prompt_tokens"] == 3 + len(ids) + 2 * len(pieces)
    assert used["prompt_tokens_details"] == {"image_items": 1}


def test_token_ids_are_a_text_with_or_without_its_markers(steady_http: httpx.Client) -> None:
    ids = text_ids("a dog")
    same = [embed(steady_http, given) for given in (["a dog"], ids, [ids], [[49406, *ids, 49407]])]
    assert len({vectors(answer).tobytes() for answer in same}) == 1
    assert {answer.json()["usage"]["total_tokens"] for answer in same} == {len(ids) + 2}


def test_two_thousand_strings_are_one_call(steady_http: httpx.Client) -> None:
    texts = [f"text {number % 50}" for number in range(2048)]
    rows = vectors(embed(steady_http, texts, encoding_format="float"))
    assert rows.shape == (2048, DIM)
    assert (rows[:50] == rows[2000:2048].tolist() + rows[48:50].tolist()).all()


def test_dimensions_that_the_model_lists_are_the_first_numbers_as_a_unit(steady_http: httpx.Client) -> None:
    whole, short = vectors(embed(steady_http, "a dog"))[0], vectors(embed(steady_http, "a dog", dimensions=4))[0]
    np.testing.assert_allclose(short, whole[:4] / np.linalg.norm(whole[:4]), atol=1e-6)
    assert steady_http.get("/v1/models/fake").json()["embedding_dimensions"] == [4, DIM]
    assert "4 or 8" in embed(steady_http, "a dog", dimensions=5).json()["error"]["message"]


def test_a_large_answer_does_not_stay_in_the_store(
    start_gateway: Callable[..., tuple[str, GatewayState]], valkey: Valkey
) -> None:
    class Wide(FakeRuntime):
        def unit(self, modality: Modality, embedding: np.ndarray) -> np.ndarray:
            return np.full(200_000, 200_000**-0.5, np.float32)

    url, _ = start_gateway()
    wide = Wide(info=replace(FAKE_INFO, id="wide"))  # the store has other workers of the usual model
    with worker_thread(valkey.settings, wide, lost_after_s=30.0):  # no takeover, which would write anew
        body = {"model": "wide", "input": ["a", "b"]}
        answer = httpx.post(f"{url}/v1/embeddings", json=body, timeout=30)
        assert len(answer.json()["data"][1]["embedding"]) == 200_000
    lives = [valkey.client.ttl(key) for key in valkey.client.scan_iter("*:events:*")]
    assert lives
    assert max(lives) <= 60
    assert min(lives) > 0


def test_the_document_states_the_operators_limits(
    start_gateway: Callable[..., tuple[str, GatewayState]],
) -> None:
    url, _ = start_gateway(max_embed_inputs=7, max_tokens=99, max_choices=3, max_messages=5)
    spec = httpx.get(f"{url}/openapi.json", timeout=60).json()
    chat, embeds = (spec["components"]["schemas"][name]["properties"] for name in ("ChatBody", "EmbedBody"))
    assert [kind["maxItems"] for kind in embeds["input"]["anyOf"] if "maxItems" in kind].count(7) >= 1
    assert chat["messages"]["maxItems"] == 5
    assert chat["max_tokens"]["anyOf"][0]["maximum"] == 99
    form = spec["paths"]["/v1/generate"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["n"]["maximum"] == 3


def text_ids(text: str) -> list[int]:
    rows = media.load("clip-bpe-batch-v1", json.dumps([text]).encode(), {"cut": "windows"}, media.Limits())
    return [int(one) for row in rows for one in row[4 : 4 + row[2]]]
