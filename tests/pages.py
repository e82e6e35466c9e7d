"""The pages of the documentation, and what stands in them."""

import re
from pathlib import Path

from tests.conftest import ROOT

TOP = ("README", "ARCHITECTURE", "CONTRIBUTING", "CHANGELOG", "SECURITY", "CODE_OF_CONDUCT")
FOLDERS = ("docs", "deploy", "examples", "samples", "models", "recipes")
OTHERS = ("benchmarks/README.md",)
WRITTEN_BY_PROGRAMS = "report"  # a folder of figures beside a card


def pages() -> list[Path]:
    below = [page for folder in FOLDERS for page in sorted((ROOT / folder).rglob("*.md"))]
    named = [*(ROOT / f"{name}.md" for name in TOP), *(ROOT / name for name in OTHERS)]
    return [*named, *(page for page in below if page.parent.name != WRITTEN_BY_PROGRAMS)]


ADDRESS = "http://127.0.0.1:8000"


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
