"""A class name stands for one thing: no two modules define a class of the same name."""

import ast
from collections import defaultdict
from pathlib import Path

PACKAGES = ("service", "pandagpt_core", "recipes", "benchmarks")


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
