"""docs/api.md against the application: every endpoint, part, field, parameter, error is there, and tests hold each row.

For an added row `held_by.toml` names the tests that hold it, by the row's first cell.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from typing import get_args

import pytest
from fastapi.routing import APIRoute

from pandagpt_core.modalities import FILE_MODALITIES, MODALITIES
from service.gateway.app import routers
from service.gateway.errors import ERRORS
from service.gateway.inference.parsing.form import FILE_FIELDS
from service.gateway.schema.content_parts import MediaPart, TextPart
from service.gateway.schema.requests import GenerateForm
from service.gateway.schema.sampling import Sampling
from service.gateway.schema.unsupported import UNSUPPORTED
from tests.conftest import ROOT

PAGE = ROOT / "docs/api.md"
HELD_BY = ROOT / "tests/contract/held_by.toml"
TESTS = ("tests/contract", "tests/gateway", "tests/media", "tests/chaos")


def rows(section: str) -> list[list[str]]:
    """The cells of every table row of one section, headings left out; an item of a list is a row of one cell."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"docs/api.md has no section {section}"
    lines = [line for line in found.group(1).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    table = [row for at, row in enumerate(cells) if not set("".join(row)) <= {"-", " "} and not _heads(cells, at)]
    return table or [[line[2:]] for line in found.group(1).splitlines() if line.startswith("- ")]


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
    "Ollama's interface",
    "Content parts",
    "Messages",
    "Tools",
    "Answers",
    "Files",
    "Multipart",
    "Sampling parameters",
    "Streams",
    "Errors",
    "Headers",
]


def held_by() -> dict[str, dict[str, list[str]]]:
    """Section and row to the tests that hold it."""
    return tomllib.loads(HELD_BY.read_text(encoding="utf-8"))


def named_tests() -> Iterator[str]:
    for rows_of in held_by().values():
        for names in rows_of.values():
            yield from names


@pytest.mark.parametrize("section", SECTIONS)
def test_every_row_of_the_page_is_held_by_a_test(section: str) -> None:
    held = held_by()[section]
    table = [row[0] for row in rows(section)]
    assert table
    assert [row for row in table if not held.get(row)] == [], (
        f"{HELD_BY.name}, [{section}]: name the tests of these rows"
    )
    assert [row for row in held if row not in table] == [], f"{HELD_BY.name}, [{section}]: docs/api.md has no such row"


def test_every_test_that_holds_a_row_exists() -> None:
    assert sorted(set(named_tests()) - known_tests()) == []


def test_the_page_names_no_test() -> None:
    assert re.findall(r"\btest_\w+", PAGE.read_text(encoding="utf-8")) == [], f"tests stand in {HELD_BY.name}"


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


def test_every_parameter_of_a_medium_is_in_its_parts_row() -> None:
    told = {code(row[0])[0]: row[1] for row in rows("Content parts") if code(row[0])}
    missing = [
        f"{MODALITIES[name].part}: {parameter.name}"
        for name in FILE_MODALITIES
        for parameter in MODALITIES[name].parameters
        if parameter.name not in re.findall(r"\w+", told[MODALITIES[name].part])
    ]
    assert missing == []


def test_every_test_file_of_the_contract_holds_a_row() -> None:
    named = set(named_tests())
    idle = [
        file.name
        for file in (ROOT / "tests/contract").glob("test_*.py")
        if named.isdisjoint(re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8")))
    ]
    assert idle == [], f"name one of their tests in {HELD_BY.name}"
