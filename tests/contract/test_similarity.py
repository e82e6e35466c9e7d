"""POST /v1/rerank and /v1/score in the shapes of Jina, Cohere and vLLM: texts against media, and back."""

from typing import Any

import httpx
import numpy as np
import pytest
from openai import OpenAI

from tests.contract import made

PICTURE = {"type": "image_url", "image_url": {"url": made.data_url(made.PNG)}}
SOUND = {"type": "audio_url", "audio_url": {"url": made.data_url(made.sound("wav"))}}


def cosines(client: OpenAI, first: Any, others: list[Any]) -> np.ndarray:
    rows = [row.embedding for row in client.embeddings.create(model="fake", input=[first, *others]).data]
    return np.array(rows[1:]) @ np.array(rows[0])


@pytest.mark.parametrize(("query", "documents"), [("a dog", ["a cat", PICTURE, SOUND]), (PICTURE, ["a cat", "a dog"])])
def test_documents_come_in_the_order_of_their_similarity(
    client: OpenAI, http: httpx.Client, query: Any, documents: list[Any]
) -> None:
    answer = http.post("/v1/rerank", json={"model": "fake", "query": query, "documents": documents}).json()
    scores = cosines(client, query, documents)
    assert [one["index"] for one in answer["results"]] == np.argsort(-scores).tolist()
    assert [one["relevance_score"] for one in answer["results"]] == pytest.approx(
        sorted(scores, reverse=True), abs=1e-6
    )
    said = {one["index"]: one.get("document") for one in answer["results"]}
    assert said == {at: {"text": one} if isinstance(one, str) else None for at, one in enumerate(documents)}
    assert answer["usage"]["total_tokens"] > 0


def test_a_query_may_have_jinas_and_coheres_forms(http: httpx.Client) -> None:
    plain = {"query": "a dog", "documents": ["a cat", PICTURE], "return_documents": False}
    jina = {"query": {"text": "a dog"}, "documents": [{"text": "a cat"}, {"image": PICTURE["image_url"]["url"]}]}
    first, second = (http.post("/v1/rerank", json=body).json()["results"] for body in (plain, jina))
    assert [(one["index"], one["relevance_score"]) for one in first] == [
        (one["index"], one["relevance_score"]) for one in second
    ]
    assert "document" not in first[0]
    top = http.post("/v1/rerank", json={**plain, "top_n": 1}).json()["results"]
    assert top == first[:1]


def test_scores_are_one_against_many_or_pairs(client: OpenAI, http: httpx.Client) -> None:
    one = http.post("/v1/score", json={"text_1": PICTURE, "text_2": ["a cat", "a dog"]}).json()
    assert (one["object"], [row["object"] for row in one["data"]]) == ("list", ["score", "score"])
    assert [row["score"] for row in one["data"]] == pytest.approx(
        cosines(client, PICTURE, ["a cat", "a dog"]), abs=1e-6
    )
    pairs = http.post("/v1/score", json={"text_1": ["x", "y"], "text_2": ["a cat", "a dog"]}).json()["data"]
    expected = [cosines(client, "x", ["a cat"])[0], cosines(client, "y", ["a dog"])[0]]
    assert [row["score"] for row in pairs] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/rerank", {"query": "x", "documents": []}, "documents"),
        ("/v1/rerank", {"query": ["x", "y"], "documents": ["z"]}, "query"),
        ("/v1/rerank", {"query": "", "documents": ["z"]}, "query[0]"),
        ("/v1/rerank", {"query": "x", "documents": ["z"], "top_n": 0}, "top_n"),
        ("/v1/score", {"text_1": ["x", "y"], "text_2": ["a", "b", "c"]}, "text_1"),
        ("/v1/score", {"text_1": "x"}, "text_2"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_its_field(
    http: httpx.Client, path: str, body: dict[str, Any], param: str
) -> None:
    answer = http.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
