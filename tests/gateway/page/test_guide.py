"""The site of all pages: built by `make docs` from the pages of the repository, served confined."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from service.gateway.page.guide import read_guide
from service.gateway.state import GatewayState
from tests.conftest import ROOT

GateStarter = Callable[..., tuple[str, GatewayState]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of `make docs`, built elsewhere."""
    if not (Path(sys.executable).parent / "zensical").is_file():
        pytest.skip("the package zensical is not installed here")
    folder = tmp_path_factory.mktemp("guide")
    subprocess.run([sys.executable, ROOT / "docs/site/stage.py", folder], check=True, timeout=60)
    build = [Path(sys.executable).parent / "zensical", "build", "--strict", "--config-file", folder / "mkdocs.yml"]
    done = subprocess.run(build, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def test_the_site_is_served_confined_with_its_search(start_gateway: GateStarter, site: Path) -> None:
    url, _ = start_gateway(guide=site)
    with httpx.Client(base_url=url, timeout=20, trust_env=False) as http:
        assert http.get("/docs/guide").headers["location"] == "/docs/guide/"
        first = http.get("/docs/guide/")
        assert "make serve" in first.text
        assert first.headers["content-type"] == "text/html; charset=utf-8"
        assert "'unsafe-inline'" not in first.headers["content-security-policy"].split("style-src")[0]
        assert "Quick start" in http.get("/docs/guide/docs/start/").text
        assert http.get("/docs/guide/search.json").status_code == 200
        again = http.get("/docs/guide/", headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        for path in ("none", "../pyproject.toml", "..%2f..%2fREADME.md"):
            assert http.get(f"/docs/guide/{path}").status_code == 404


def test_every_inline_script_of_the_site_is_named_by_its_digest(site: Path) -> None:
    guide = read_guide(site)
    assert guide is not None
    pages = [asset.plain.content.decode() for path, asset in guide.files.items() if path.endswith(".html")]
    inline = {script for page in pages for script in re.findall(r"<script>(.*?)</script>", page, re.DOTALL)}
    assert inline
    assert guide.headers["content-security-policy"].count("sha256-") == len(inline)


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r'<(?:script|img|iframe|link rel="(?:stylesheet|icon)")[^>]*(?:src|href)="([^"]+)"', text)
        assert [link for link in fetched if re.match(r"(https?:)?//", link)] == [], page.name


def test_without_a_site_the_answer_names_the_command(start_gateway: GateStarter, tmp_path: Path) -> None:
    url, _ = start_gateway(guide=tmp_path / "none")
    answer = httpx.get(f"{url}/docs/guide/", trust_env=False)
    assert answer.status_code == 404
    assert "make docs" in answer.json()["error"]["message"]
