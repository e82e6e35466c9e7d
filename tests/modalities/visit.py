"""Run in an environment that has the package `smell`: sends smells to a gateway with a fake worker; prints answers."""

import base64
import json
import sys
from dataclasses import replace

import httpx

from pandagpt_core.types import Modality
from service.commands.client.embed import read
from service.settings import Settings, StoreSettings
from tests.fakes import FAKE_INFO, FakeRuntime, worker_thread
from tests.gateway.conftest import serving

INFO = replace(FAKE_INFO, recipes={**FAKE_INFO.recipes, Modality("smell"): "smell-v1"})
URL = f"data:application/octet-stream;base64,{base64.b64encode(b'lily').decode()}"


def main(store: str, folder: str) -> None:
    stores = StoreSettings(url=store)
    settings = Settings(store=stores, decode={"processes": 1})
    with (
        serving(settings) as (url, _),
        worker_thread(stores, FakeRuntime(info=INFO)),
        httpx.Client(base_url=url, timeout=120) as http,
    ):
        sys.stdout.write(json.dumps({name: sent.json() for name, sent in answers(http, folder).items()}))


def answers(http: httpx.Client, folder: str) -> dict[str, httpx.Response]:
    part = {"type": "smell_url", "smell_url": {"url": URL, "smell": {"strength": 0.5}}, "weight": 0.5}
    ask = {"messages": [{"role": "user", "content": [part, {"type": "text", "text": "Whose?"}]}], "max_tokens": 2}
    form = {"prompt": "Whose?", "smell_strength": "1.5", "weights": '{"smell": [0.5, 2]}', "max_tokens": "2"}
    files = [("smell", ("a", b"rose")), ("smell", ("b", b"lily"))]
    return {
        "chat": http.post("/v1/chat/completions", json=ask),
        "form": http.post("/v1/generate", data=form, files=files),
        "embedding": http.post("/v1/embeddings", json={"input": [read(f"smell={folder}/rose.bin strength=2")]}),
        "short": http.post("/v1/generate", data={"prompt": "x"}, files={"smell": ("a", b"x")}),
        "strong": http.post("/v1/generate", data={"prompt": "x", "smell_strength": "9"}, files=files[:1]),
        "models": http.get("/v1/models"),
        "interface": http.get("/openapi.json"),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
