"""A class name stands for one thing, and docstrings describe data flow without verbs of speech."""

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("service", "pandagpt_core", "recipes", "benchmarks")
PLAIN = ("pandagpt_core/training", "pandagpt_core/convert", "pandagpt_core/llm", "pandagpt_core/engine",
         "service/worker", "service/broker")  # fmt: skip
SPEECH = re.compile(r"\b(told|tells?|hears?|heard|says?|said)\b", re.IGNORECASE)


def classes(root: Path) -> dict[str, list[str]]:
    """The modules that define each class, nested ones too."""
    found: dict[str, list[str]] = defaultdict(list)
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    found[node.name].append(str(file.relative_to(root)))
    return found


def test_a_class_name_is_defined_once(root: Path) -> None:
    found = classes(root)
    assert len(found) > 300
    assert {name: files for name, files in found.items() if len(files) > 1} == {}


def words(source: str) -> Iterator[str]:
    """The comments and docstrings."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


@pytest.mark.parametrize("package", PLAIN)
def test_data_is_sent_and_stored_and_never_said(root: Path, package: str) -> None:
    files = sorted((root / package).rglob("*.py"))
    assert files
    spoken = {
        str(file.relative_to(root)): found
        for file in files
        if (found := [text for text in words(file.read_text(encoding="utf-8")) if SPEECH.search(text)])
    }
    assert spoken == {}
