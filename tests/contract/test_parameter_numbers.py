"""Every number of a query or a header, and every number of Ollama's bodies, at both ends of its range, just beyond
them, in its float32 image, huge and not finite: an answer, or a 400 with the parameter's name.

The parameters come from the service's OpenAPI document and Ollama's fields from their schemas, so that a new one is
tested with no line here.
"""

import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel

from service.gateway.inference.parsing.ollama_body import OPTIONS, REFUSED, WITHOUT_END
from service.gateway.routes import ollama
from service.gateway.schema.ollama.bodies import OllamaChat, OllamaEmbed, OllamaGenerate, OllamaShow
from service.gateway.schema.requests import ChatBody
from tests.contract.numbers import Number, Schema, is_allowed, numbers, ordinary, values
from tests.contract.scripted import scripted_gateway
from tests.fakes import FAKE_INFO
from tests.scripted import SCRIPTED_INFO, ScriptedRuntime

DIGITS = re.compile(r"\^\[0-9\]\{1,(?P<most>\d+)\}\$")  # the pattern of a text that is a number
SPELT = ("", "0x10", "1e1", "5,5", "٥", "9" * 5000)  # of a number elsewhere, and of none anywhere
BESIDE = {"starting_after": {"stream": "true"}}  # without which a parameter has no effect
NO_PICTURE = {"choice"}  # of a request without `annotate`: a 404, whatever number is allowed


@pytest.fixture
def paths(http: httpx.Client) -> Mapping[str, str]:
    """Values of path parameters that lead to something."""
    made = http.post("/v1/responses", json={"input": "Hi", "max_output_tokens": 2}).json()["id"]
    return {"response_id": made, "request_id": made.replace("_", "-", 1)}


def test_every_number_of_a_query_or_a_header_is_taken_or_refused_by_name(
    http: httpx.Client, paths: Mapping[str, str]
) -> None:
    found = list(_parameters(http.get("/openapi.json").json()))
    assert {"limit", "starting_after", "choice", "last-event-id"} <= {one["name"] for _, _, one, _ in found}
    for path, method, parameter, schema in found:
        name, url = parameter["name"], path.format_map(paths)
        for value in dict.fromkeys((*values(schema), ordinary(schema), *SPELT)):
            query = parameter["in"] == "query"
            params = {**BESIDE.get(name, {}), **({name: value} if query else {})}
            answer = http.request(method, url, params=params, headers={} if query else {name: value.encode()})
            where = f"{method} {url} {name}={value[:40]}: {answer.status_code} {answer.text[:200]}"
            if answer.status_code == 400:
                assert value != ordinary(schema), where
                assert answer.json()["error"]["param"].lower() == name, where
            else:
                assert value not in SPELT, where
                assert is_allowed(schema, value), where
                assert answer.status_code == (404 if name in NO_PICTURE else 200), where
                assert answer.content, where


def _parameters(document: Any) -> Iterator[tuple[str, str, Any, Schema]]:
    """(path, method, parameter, schema of its number) of each that takes a number, be it as a text of digits."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", ()):
                for schema in parameter["schema"].get("anyOf", (parameter["schema"],)):
                    digits = DIGITS.fullmatch(schema.get("pattern", ""))
                    if digits is not None:
                        schema = {"type": "integer", "minimum": 0, "maximum": 10 ** int(digits["most"]) - 1}
                    if schema.get("type") in ("integer", "number") and parameter["in"] != "path":
                        yield path, method, parameter, schema


@pytest.mark.parametrize(
    "length", ["-1", "-0", "+5", "0x5", "1_0", "1.0", "1e3", "NaN", "5 5", "5,5", str(2**64), "9" * 400]
)
def test_a_content_length_that_is_no_number_of_bytes_is_refused(url: str, length: str) -> None:
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as sender:
        head = (
            f"POST /tokenize HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )
        sender.sendall(head.encode() + b'{"prompt": "Hi"}')
        answer = b"".join(iter(lambda: sender.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


OLLAMA: Mapping[str, type[BaseModel]] = {
    "/api/chat": OllamaChat,
    "/api/generate": OllamaGenerate,
    "/api/embed": OllamaEmbed,
    "/api/show": OllamaShow,
}
SAMPLES: Mapping[str, Any] = {
    "model": "scripted",
    "input": "Hi",
    "role": "user",
    "messages": [{"role": "user", "content": "Hi"}],
}
ALWAYS = {
    "/api/chat": {"messages": SAMPLES["messages"], "stream": False},
    "/api/generate": {"prompt": "Hi", "stream": False},
}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[httpx.Client]:
    runtime = ScriptedRuntime(info=replace(SCRIPTED_INFO, recipes=FAKE_INFO.recipes))
    with (
        scripted_gateway(tmp_path, runtime, ollama=True) as gateway,
        httpx.Client(base_url=gateway.url, timeout=60, trust_env=False) as client,
    ):
        yield client


def test_every_number_of_ollamas_bodies_is_answered_or_refused_by_name(served: httpx.Client) -> None:
    found = list(numbers(_document(), SAMPLES))
    assert {(one.operation, one.name) for one in found} >= {
        ("/api/chat", "num_predict"),
        ("/api/generate", "temperature"),
        ("/api/embed", "dimensions"),
    }
    for number in found:
        answers = {value: _send(served, number, value) for value in number.values()}
        flaws = {value: _flaw(number, value, answer) for value, answer in answers.items()}
        assert not any(flaws.values()), (number, flaws)
        assert number.name in REFUSED or any(answer.status_code == 200 for answer in answers.values()), number


def _document() -> dict[str, Any]:
    """Ollama's bodies as an OpenAPI document. Its options are the sampling parameters under other names."""
    routes = {route.path for route in ollama.router.routes if isinstance(route, APIRoute) and "POST" in route.methods}
    assert routes == set(OLLAMA)
    schemas: dict[str, Any] = {}

    def schema_of(model: type[BaseModel]) -> dict[str, Any]:
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        return schema

    chat = schema_of(ChatBody)["properties"]
    options = {"type": "object", "properties": {name: chat[ours] for name, ours in OPTIONS.items()}}
    paths = {}
    for path, model in OLLAMA.items():
        schema = schema_of(model)
        if path in ALWAYS:
            schema["properties"]["options"] = options
        paths[path] = {"post": {"requestBody": {"content": {"application/json": {"schema": schema}}}}}
    return {"paths": paths, "components": {"schemas": schemas}}


def _flaw(number: Number, value: str, answer: httpx.Response) -> str | None:
    if answer.status_code == 400:
        named = number.name if number.name in REFUSED else ".".join(number.path)
        return None if named in answer.json()["error"] else f"refused without its name: {answer.text}"
    if answer.status_code != 200:
        return f"status {answer.status_code}"
    if not number.is_allowed(value) and (number.name != "num_predict" or value not in map(str, WITHOUT_END)):
        return "taken beyond its range"
    found = answer.json()
    whole = found.get("response") or found.get("message", {}).get("content") or found.get("embeddings")
    return None if whole else "an empty answer"


def _send(client: httpx.Client, number: Number, value: str) -> httpx.Response:
    whole = replace(number, body={**ALWAYS.get(number.operation, {}), **number.body}).json(value)
    return client.post(number.operation, content=whole, headers={"content-type": "application/json"})
