"""The page's files: complete, small, confined by headers, and off by a setting."""

import gzip
import re
from collections.abc import Callable

import httpx

from pandagpt_core.modalities import MODALITIES
from service.gateway.page.assets import HEADERS, INDEX, load_assets
from service.gateway.state import GatewayState

LIMIT = 250_000  # bytes of all files, compressed


def test_the_whole_page_stays_small() -> None:
    assert sum(len(gzip.compress(asset.content)) for asset in load_assets().values()) < LIMIT


def test_every_file_that_the_page_names_is_there() -> None:
    assets = load_assets()
    index = assets[INDEX].content.decode()
    assert {f"/page/{path}" for path in assets} >= set(re.findall(r'(?:src|href)="(/page/[^"]+)"', index))
    for path, asset in assets.items():
        for named in re.findall(r'from "(\.[^"]+)"', asset.content.decode()):
            parts = path.split("/")[:-1]
            for word in named.split("/"):
                parts = parts[:-1] if word == ".." else parts if word == "." else [*parts, word]
            assert "/".join(parts) in assets, f"{path} imports {named}"


def test_every_module_is_fetched_at_once() -> None:
    """A module that only its importer names is fetched one round trip later."""
    index = load_assets()[INDEX].content.decode()
    preloaded = set(re.findall(r'rel="modulepreload" href="/page/([^"]+)"', index))
    assert preloaded == {path for path in load_assets() if path.endswith(".js")}


def test_no_file_makes_markup_out_of_text() -> None:
    for path, asset in load_assets().items():
        text = asset.content.decode()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text), path
        assert not re.search(r"<script(?! type=\"module\" src=)", text), path
        assert not re.search(r"https?://(?!www\.w3\.org/)[a-z0-9-]+\.[a-z]", text), path


def test_the_page_is_served_confined_and_asked_for_once(shared_gateway: tuple[str, GatewayState]) -> None:
    url, _ = shared_gateway
    answer = httpx.get(f"{url}/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert {name: answer.headers[name] for name in HEADERS} == dict(HEADERS)
    again = httpx.get(f"{url}/", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_nothing_beside_the_pages_files_is_served(shared_gateway: tuple[str, GatewayState]) -> None:
    url, _ = shared_gateway
    for path in ("page/none.js", "page/%2e%2e/assets.py", "page/..%2fassets.py", "page/samples/%2e%2e%2fREADME.md"):
        assert httpx.get(f"{url}/{path}").status_code == 404


def test_samples_are_listed_and_served(shared_gateway: tuple[str, GatewayState]) -> None:
    url, _ = shared_gateway
    groups = httpx.get(f"{url}/page/samples").json()
    assert {"modality": "image", "file": "dog.png", "options": {}} in [one for group in groups for one in group]
    picture = httpx.get(f"{url}/page/samples/dog.png")
    assert (picture.headers["content-type"], picture.content[1:4]) == ("image/png", b"PNG")


def test_a_setting_turns_the_page_off(start_gateway: Callable[..., tuple[str, GatewayState]]) -> None:
    url, _ = start_gateway(page=False)
    for path in ("/", "/page/style.css", "/page/samples"):
        answer = httpx.get(f"{url}{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_the_page_knows_every_parameter_of_the_registry() -> None:
    table = load_assets()["js/media/modalities.js"].content.decode()
    for name, entry in MODALITIES.items():
        block = re.search(rf"^  {name}: \{{.*?(?=^  \w+: |^\}})", table, re.DOTALL | re.MULTILINE)
        assert block, name
        for parameter in entry.parameters:
            assert f"{parameter.name}: " in block[0], f"{name}.{parameter.name}"
            for value in getattr(parameter, "values", ()):
                assert f'"{value}"' in block[0], f"{name}.{parameter.name} may be {value}"
