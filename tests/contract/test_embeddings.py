"""Embeddings by the `openai` package: strings and content parts, floats and base64, unit vectors of one space."""

import base64
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from openai import OpenAI

from tests.contract import made
from tests.fakes import DIM


def test_strings_give_one_unit_vector_each_in_order(client: OpenAI) -> None:
    answer = client.embeddings.create(model="fake", input=["a dog", "a cat", "a dog"])  # asks for base64 by itself
    vectors = [row.embedding for row in answer.data]
    assert [row.index for row in answer.data] == [0, 1, 2]
    assert vectors[0] == vectors[2] != vectors[1]
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1], abs=1e-6)
    assert (answer.object, answer.model, len(vectors[0])) == ("list", "fake", DIM)


def test_floats_and_base64_are_the_same_numbers(client: OpenAI, http: httpx.Client) -> None:
    floats = client.embeddings.create(model="fake", input="a dog", encoding_format="float").data[0].embedding
    raw = http.post("/v1/embeddings", json={"input": "a dog", "encoding_format": "base64"}).json()
    assert np.frombuffer(base64.b64decode(raw["data"][0]["embedding"]), "<f4").tolist() == pytest.approx(floats)
    assert http.post("/v1/embeddings", json={"input": "a dog"}).json()["data"][0]["embedding"] == floats


def test_content_parts_of_every_modality_are_embedded_together(client: OpenAI) -> None:
    file = client.files.create(file=("a", made.PNG), purpose="vision")
    data = base64.b64encode(made.sound("wav")).decode()
    parts: Any = [
        "a dog",
        {"type": "text", "text": "a cat"},
        {"type": "context_text", "context_text": "a cat"},
        {"type": "image_url", "image_url": {"url": made.data_url(made.PNG)}},
        {"type": "file", "file": {"file_id": file.id}, "modality": "image"},
        {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}},
        {"type": "audio_url", "audio_url": {"url": made.data_url(made.sound("wav"))}},
        {"type": "video_url", "video_url": {"url": made.data_url(made.VIDEO)}},
        {"type": "depth_url", "depth_url": {"url": made.data_url(made.grey("png")), "depth": made.METRIC}},
        {"type": "thermal_url", "thermal_url": {"url": made.data_url(made.grey("png", 8))}},
        {"type": "imu_url", "imu_url": {"url": made.data_url(made.motion("csv")), "imu": {"rate_hz": 50}}},
    ]
    vectors = [row.embedding for row in client.embeddings.create(model="fake", input=parts).data]
    assert len(vectors) == len(parts)
    for same, other in ((1, 2), (3, 4), (5, 6)):
        assert vectors[same] == vectors[other]
    assert len({tuple(vector) for vector in vectors}) == len(parts) - 3


def test_one_part_alone_needs_no_list(client: OpenAI) -> None:
    part: Any = {"type": "image_url", "image_url": {"url": made.data_url(made.PNG)}}
    assert len(client.embeddings.create(model="fake", input=part).data) == 1


def test_dimensions_must_be_the_models_own(client: OpenAI) -> None:
    assert client.embeddings.create(model="fake", input="x", dimensions=DIM).data
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model="fake", input="x", dimensions=DIM + 1)
    assert (refused.value.param, str(DIM) in refused.value.message) == ("dimensions", True)


@pytest.mark.parametrize(("given", "param"), [([], "input"), ("", "input[0]"), (["a", ""], "input[1]")])
def test_an_empty_input_is_refused(client: OpenAI, given: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model="fake", input=given)
    assert refused.value.param == param
