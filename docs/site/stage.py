"""Gathers the pages of the repository for MkDocs: `python docs/site/stage.py FOLDER`.

docs/README.md lists every page under its headings; this list is the site's navigation. Pages keep their paths, so that
their relative links hold. A link to a file that is no page is kept by a copy of the file, a link to a folder loses its
target, since a site has no listing of folders.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
INDEX = ROOT / "docs/README.md"
_LINK = re.compile(r"\[([^\]]*)\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^## (.+)$")
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)


def navigation() -> dict[str, list[Path]]:
    """Section -> its pages, in the order of the list. Every page once."""
    sections: dict[str, list[Path]] = {}
    pages: list[Path] = []
    for line in INDEX.read_text(encoding="utf-8").splitlines():
        if heading := _HEADING.match(line):
            pages = sections.setdefault(heading[1], [])
        pages += [target for _, target in local_links(INDEX, line) if target.suffix == ".md"]
    return sections


def local_links(page: Path, text: str) -> Iterator[tuple[str, Path]]:
    """(link as written, the file or folder it leads to) of the links within the repository."""
    for _, link in _LINK.findall(text):
        path = link.partition("#")[0]
        if path and not re.match(r"[a-z]+:", path):
            yield link, (page.parent / path).resolve()


def stage(folder: Path) -> None:
    """Write `pages/` and `mkdocs.yml` into `folder`. Raises FileNotFoundError for a link that leads nowhere."""
    pages = folder / "pages"
    shutil.rmtree(pages, ignore_errors=True)
    sections = navigation()
    for page in [INDEX, *(page for listed in sections.values() for page in listed)]:
        _copy_page(page, pages)
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(_config(sections), sort_keys=False), encoding="utf-8")


def _config(sections: dict[str, list[Path]]) -> dict[str, object]:
    nav = [{section: [{_title(page): _inside(page)} for page in listed]} for section, listed in sections.items()]
    shared = str(ROOT / "docs/site/mkdocs.yml")
    return {"INHERIT": shared, "docs_dir": "pages", "site_dir": "site", "nav": nav, "not_in_nav": "docs/README.md"}


def _copy_page(page: Path, pages: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link, target in local_links(page, text):
        if target.is_dir():
            text = re.sub(rf"\[([^\]]*)\]\({re.escape(link)}\)", r"\1", text)
        elif target.suffix != ".md":
            _place(pages, target).write_bytes(target.read_bytes())
    _place(pages, page).write_text(text, encoding="utf-8")


def _place(pages: Path, source: Path) -> Path:
    place = pages / _inside(source)
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _inside(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _title(page: Path) -> str:
    found = _TITLE.search(page.read_text(encoding="utf-8"))
    return found[1] if found else page.stem


if __name__ == "__main__":
    target_folder = Path(sys.argv[1])
    target_folder.mkdir(parents=True, exist_ok=True)
    stage(target_folder)
