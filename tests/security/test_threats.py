"""The page of threats against the files: every row has tests that exist, and no row of the shared list is missing."""

import re
from pathlib import Path

import pytest


def rows(page: str) -> list[list[str]]:
    """The cells of each row of the page's table."""
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


@pytest.fixture(scope="module")
def ours(root: Path) -> list[list[str]]:
    return rows((root / "docs/security.md").read_text(encoding="utf-8"))


def test_every_row_names_tests_that_exist_and_hold_tests(root: Path, ours: list[list[str]]) -> None:
    assert len(ours) >= 21
    for threat, measure, tests in ours:
        assert measure, threat
        files = [root / name.strip() for name in tests.split(",")]
        assert any(file.parent.name == "security" for file in files), threat
        for file in files:
            assert file.is_file(), file
            assert re.search(r"^(async )?def test_", file.read_text(encoding="utf-8"), re.MULTILINE), file


def test_every_file_of_these_tests_says_its_threat_and_stands_in_the_page(root: Path, ours: list[list[str]]) -> None:
    named = {name.strip() for *_, tests in ours for name in tests.split(",")}
    for file in sorted((root / "tests/security").glob("test_*.py")):
        if file.name in ("test_threats.py", "test_watching.py"):
            continue
        assert f"tests/security/{file.name}" in named
        assert file.read_text(encoding="utf-8").startswith('"""Threat: '), file


def test_no_row_of_the_shared_list_is_missing(shared: Path, ours: list[list[str]]) -> None:
    listed = rows((shared / "design" / "security.md").read_text(encoding="utf-8"))
    assert len(listed) >= 20
    assert {row[0] for row in listed} <= {row[0] for row in ours}
