"""Every request of the written interface's examples as it stands, as JSON or form and as its line for the shell.

A new endpoint brings a row in `service/gateway/openapi/examples`; ids in its address come from `Kept` below.
"""

import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from service.gateway.errors import ERRORS
from service.gateway.openapi import document
from service.gateway.openapi.add_examples import ADDRESS, is_file
from service.gateway.openapi.errors import ERROR_EXAMPLES
from service.gateway.openapi.examples import OPERATIONS, values
from service.gateway.state import GatewayState
from tests.contract import made

Json = dict[str, Any]
SPEC = document.of_application()
WHERE = {
    operation["operationId"]: (method, path, operation)
    for path, methods in SPEC["paths"].items()
    for method, operation in methods.items()
}
FILES = {"picture.png": made.PNG, "sound.wav": made.sound("wav")}
CHAT: Json = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
LINE = json.dumps({"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": CHAT})
# A picture with boxes needs a model that names places: `tests/gateway/test_places.py` holds it.
NAMES = [name for name in OPERATIONS if name != "getAnnotatedPicture"]
ENDED = ("completed", "failed", "expired", "cancelled")
ROWS = [(name, at) for name in NAMES for at in range(len(OPERATIONS[name].requests))]


@dataclass(frozen=True)
class Kept:
    """Real ones in the place of the examples' ids."""

    names: dict[str, str]

    def in_text(self, text: str) -> str:
        for example, real in self.names.items():
            text = text.replace(example, real)
        return text


@pytest.fixture
def kept(http: httpx.Client) -> Kept:
    answer = http.post("/v1/chat/completions", json=CHAT)
    lines, read = (  # one for the examples of files, which delete it, and one that a batch reads
        http.post("/v1/files", data={"purpose": "batch"}, files={"file": ("lines.jsonl", LINE.encode())}).json()["id"]
        for _ in range(2)
    )
    batch = http.post("/v1/batches", json={"input_file_id": read, "endpoint": "/v1/chat/completions"}).json()
    response = http.post("/v1/responses", json={"input": "x", "max_output_tokens": 1}).json()
    return Kept(
        {
            values.REQUEST: answer.json()["id"],
            values.FILE: lines,
            values.BATCH: batch["id"],
            values.RESPONSE: response["id"],
            values.MODEL: "fake",
        }
    )


@pytest.fixture(scope="module", autouse=True)
def ended_batches(gateway: tuple[str, GatewayState]) -> Iterator[None]:
    """A line of a batch that runs on would be among the requests that a later test looks at."""
    yield
    with httpx.Client(base_url=gateway[0], timeout=30, trust_env=False) as http:
        limit = time.monotonic() + 120
        while running := [one for one in _batches(http) if one["status"] not in ENDED]:
            assert time.monotonic() < limit, running[0]
            for one in running:
                http.post(f"/v1/batches/{one['id']}/cancel")
            time.sleep(0.2)


def _batches(http: httpx.Client) -> list[Json]:
    found: list[Json] = http.get("/v1/batches", params={"limit": 100}).json()["data"]
    return found


def sent(http: httpx.Client, name: str, at: int, kept: Kept) -> httpx.Response:
    method, path, operation = WHERE[name]
    example = OPERATIONS[name].requests[at]
    for parameter, value in values.PARAMETERS.items():
        path = path.replace(f"{{{parameter}}}", value)
    body = json.loads(kept.in_text(json.dumps(example.body)))
    forms = operation.get("requestBody", {}).get("content", {})
    if "multipart/form-data" not in forms:
        return http.request(method, kept.in_text(path), json=body, params=dict(example.query))
    fields = forms["multipart/form-data"]["schema"]["properties"]
    listed = [(key, one) for key, value in body.items() for one in (value if isinstance(value, list) else [value])]
    return http.request(
        method,
        path,
        data={key: value for key, value in listed if not is_file(fields[key])},
        files=[(key, (value, FILES[value])) for key, value in listed if is_file(fields[key])],
    )


@pytest.mark.parametrize(("name", "at"), ROWS, ids=[f"{name}-{at}" for name, at in ROWS])
def test_an_example_is_answered_as_the_document_says(http: httpx.Client, name: str, at: int, kept: Kept) -> None:
    answer = sent(http, name, at, kept)
    assert answer.status_code == 200, answer.text
    kind = answer.headers["content-type"].partition(";")[0]
    described = WHERE[name][2]["responses"]["200"]["content"]
    assert kind in described, f"{name} answers with {kind}: name it in documented(...)"
    if kind == "application/json":
        schema = {**described[kind]["schema"], "components": SPEC["components"]}
        assert [error.message for error in Draft202012Validator(schema).iter_errors(answer.json())] == []
        assert shape(answer.json()) >= shape(OPERATIONS[name].answer), "the example has what no answer has"


def shape(answer: Any) -> set[str]:
    """The names of an object's fields."""
    return set(answer or ())


def test_an_answer_has_no_field_that_the_document_lacks(http: httpx.Client, kept: Kept) -> None:
    for name, row in OPERATIONS.items():
        if row.answer is None:
            continue
        answer = sent(http, name, 0, kept)
        if name in ("deleteFile", "deleteResponse"):
            continue
        schema = WHERE[name][2]["responses"]["200"]["content"]["application/json"]["schema"]
        known = SPEC["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"]
        assert shape(answer.json()) <= set(known), name


REFUSED: dict[str, tuple[str, str, Json]] = {
    "invalid_request": ("POST", "/v1/chat/completions", {**CHAT, "temperature": 101}),
    "invalid_media": (
        "POST",
        "/v1/chat/completions",
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": made.data_url(b"no picture", "image/png")}}],
                }
            ]
        },
    ),
    "context_length_exceeded": (
        "POST",
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "word " * 3000}]},
    ),
    "not_found": ("GET", "/v1/nothing", {}),
    "model_not_found": ("GET", "/v1/models/nobody", {}),
    "file_not_found": ("GET", "/v1/files/file-0", {}),
    "batch_not_found": ("GET", "/v1/batches/batch_0", {}),
    "request_not_found": ("GET", "/v1/requests/chatcmpl-0", {}),
    "method_not_allowed": ("PUT", "/v1/files", {}),
}


@pytest.mark.parametrize("code", REFUSED)
def test_an_error_has_the_words_of_its_example(http: httpx.Client, code: str) -> None:
    method, path, body = REFUSED[code]
    error = http.request(method, path, **({"json": body} if body else {})).json()["error"]
    message, param = ERROR_EXAMPLES[code]
    assert error == {"message": message, "type": ERRORS[code].type, "param": param, "code": code}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_a_line_for_the_shell_runs_as_it_is_written(url: str, name: str, kept: Kept, folder: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    for sample in WHERE[name][2]["x-codeSamples"]:
        line = kept.in_text(sample["source"]).replace(ADDRESS, url)
        command = [*shlex.split(line), "-sS", "--noproxy", "*", "-w", "\n%{http_code}"]
        ran = subprocess.run(command, cwd=folder, capture_output=True, timeout=60, check=False)
        assert ran.stdout.rpartition(b"\n")[2] == b"200", (line, ran.stdout[-500:], ran.stderr)
