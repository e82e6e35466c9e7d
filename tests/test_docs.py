"""The pages of the repository: each is found from README by links, and every relative link leads to something."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.pages import pages

_LINK = re.compile(r"\]\(([^()\s]+)\)")
_CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def links(page: Path) -> list[str]:
    """Targets of the page's links to files of this repository, code left out."""
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    return [link for link in _LINK.findall(text) if not re.match(r"[a-z]+:", link)]


def target(page: Path, link: str) -> Path:
    path = link.partition("#")[0]
    return (page.parent / path).resolve() if path else page


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings."""
    headings = _HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def found_from(start: Path) -> set[Path]:
    """All pages that links lead to, and the pages behind those."""
    seen, waiting = {start}, [start]
    while waiting:
        page = waiting.pop()
        ahead = {target(page, link) for link in links(page)}
        new = {path for path in ahead if path.suffix == ".md" and path.is_file()} - seen
        seen |= new
        waiting += new
    return seen


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_its_heading(page: Path) -> None:
    dead = [link for link in links(page) if not target(page, link).exists()]
    assert dead == []
    lost = [link for link in links(page) if "#" in link and link.partition("#")[2] not in anchors(target(page, link))]
    assert lost == []


def test_every_page_is_found_from_readme() -> None:
    orphans = [str(page.relative_to(ROOT)) for page in pages() if page not in found_from(ROOT / "README.md")]
    assert orphans == []


def test_the_list_of_pages_has_every_page() -> None:
    """The site's navigation is made of it."""
    index = ROOT / "docs/README.md"
    listed = {target(index, link) for link in links(index)}
    assert [str(page.relative_to(ROOT)) for page in pages() if page not in listed | {index}] == []


def test_the_citation_has_the_version_and_licence_of_the_package(root: Path) -> None:
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
