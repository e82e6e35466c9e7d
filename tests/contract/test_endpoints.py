"""Every endpoint of the interface page, and the drift between pages: api.md, openapi.yaml, the application, tests."""

import ast
import re
from typing import get_args

import httpx
import pytest
import yaml
from fastapi.routing import APIRoute
from openapi_spec_validator import validate

from service.gateway.app import routers
from service.gateway.errors import ERRORS
from service.gateway.inference.form import FILE_FIELDS
from service.gateway.schema.content_parts import MediaPart, TextPart
from service.gateway.schema.requests import UNSUPPORTED, GenerateForm
from service.gateway.schema.sampling import Sampling
from tests.conftest import ROOT

CHAT = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}


def test_health_live_and_ready_answer_with_the_models(http: httpx.Client) -> None:
    assert http.get("/health/live").json() == {"status": "ok"}
    assert http.get("/health/ready").json() == {"status": "ok", "models": ["fake"]}


def test_version_is_the_installed_one(http: httpx.Client) -> None:
    from importlib.metadata import version

    assert http.get("/version").json() == {"version": version("pandagpt")}


def test_metrics_are_prometheus_text_with_every_endpoint_by_template(http: httpx.Client) -> None:
    http.post("/v1/chat/completions", json=CHAT)
    answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'pandagpt_http_requests_total{endpoint="/v1/chat/completions",status="200"}' in answer.text


def test_docs_and_openapi_json_show_the_written_interface(http: httpx.Client) -> None:
    written = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))
    assert http.get("/openapi.json").json() == written
    page = http.get("/docs").text
    assert all(path in page for path in written["paths"])


def test_openapi_yaml_is_valid_openapi() -> None:
    validate(yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8")))


def test_a_deleted_request_is_cancelled_and_one_that_ended_stays_as_it_is(http: httpx.Client) -> None:
    ended = http.post("/v1/chat/completions", json=CHAT).json()["id"]
    assert http.delete(f"/v1/requests/{ended}").json()["status"] == "done"


def test_an_idempotency_key_sent_again_is_answered_by_the_same_request(http: httpx.Client) -> None:
    headers = {"idempotency-key": "contract-1"}
    first, again = (http.post("/v1/chat/completions", json=CHAT, headers=headers) for _ in range(2))
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    other = http.post("/v1/chat/completions", json={**CHAT, "max_tokens": 2}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")


# The interface page

PAGE = ROOT / "docs/api.md"
TESTS = ("tests/contract", "tests/gateway", "tests/media")


def rows(section: str) -> list[list[str]]:
    """The cells of every table row of one section, headings left out."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"docs/api.md has no section {section}"
    lines = [line for line in found.group(1).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for at, row in enumerate(cells) if not set("".join(row)) <= {"-", " "} and not _heads(cells, at)]


def _heads(cells: list[list[str]], at: int) -> bool:
    return at + 1 < len(cells) and set("".join(cells[at + 1])) <= {"-", " "}


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def known_tests() -> set[str]:
    """The names of all tests that a row may point to."""
    trees = [
        ast.parse(file.read_text(encoding="utf-8")) for folder in TESTS for file in (ROOT / folder).rglob("test_*.py")
    ]
    return {
        node.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


SECTIONS = [
    "Endpoints",
    "Content parts",
    "Messages",
    "Answers",
    "Files",
    "Multipart",
    "Sampling parameters",
    "Streams",
    "Errors",
    "Headers",
]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_row_of_the_page_names_a_test_that_exists(section: str) -> None:
    known = known_tests()
    table = rows(section)
    assert table
    for row in table:
        named = [name for name in code(row[-1]) if name.startswith("test_")]
        assert named, f"no test holds the row {row[0]}"
        assert not [name for name in named if name not in known], row[0]


def first_words(section: str) -> set[str]:
    return {word for row in rows(section) for word in code(row[0])}


def test_every_endpoint_of_the_application_is_on_the_page() -> None:
    routes = [route for router in routers() for route in router.routes if isinstance(route, APIRoute)]
    real = {f"{method} {re.sub(r':path', '', route.path)}" for route in routes for method in route.methods or ()}
    assert first_words("Endpoints") == {re.sub(r"\{\w+\}", "{id}", name) for name in real}


def test_every_content_part_is_on_the_page() -> None:
    kinds = {get_args(part.model_fields["type"].annotation)[0] for part in (TextPart, *get_args(MediaPart))}
    assert first_words("Content parts") >= kinds


def test_every_field_of_the_form_is_on_the_page() -> None:
    fields = set(GenerateForm.model_fields) - set(Sampling.model_fields)
    assert first_words("Multipart") >= fields | set(FILE_FIELDS) | {"text", "messages", "weights", "stream_options"}


def test_every_sampling_parameter_is_on_the_page_and_so_is_every_refused_one() -> None:
    assert first_words("Sampling parameters") >= set(Sampling.model_fields) | set(UNSUPPORTED)


def test_every_error_code_is_on_the_page_with_its_status() -> None:
    told = {name: int(row[1]) for row in rows("Errors") for name in code(row[0])}
    assert told == {name: row.status for name, row in ERRORS.items()}


def test_every_test_file_of_the_contract_has_a_row() -> None:
    text = PAGE.read_text(encoding="utf-8")
    made_for = {file.stem for file in (ROOT / "tests/contract").glob("test_*.py")}
    unnamed = {
        stem
        for stem in made_for
        if not any(
            name in text for name in re.findall(r"def (test_\w+)", (ROOT / f"tests/contract/{stem}.py").read_text())
        )
    }
    assert unnamed == set()
