"""The page's files: complete, small, compressed, kept by browsers, confined by headers, and off by a setting."""

import gzip
import json
import re
from collections.abc import Callable

import httpx

from pandagpt_core.modalities import MODALITIES
from service.gateway.page import modules
from service.gateway.page.assets import FOR_GOOD, HEADERS, INDEX, MAIN, load_assets
from service.gateway.state import GatewayState

LIMIT = 250_000  # bytes of all files, compressed
PLAIN = {"accept-encoding": "identity"}


def plain() -> dict[str, bytes]:
    return {path: asset.plain.content for path, asset in load_assets().files.items()}


def test_the_whole_page_stays_small() -> None:
    assert sum(len(asset.gzip.content) for asset in load_assets().files.values()) < LIMIT


def test_every_file_that_the_page_names_is_there() -> None:
    files, version = plain(), load_assets().version
    named = re.findall(r'(?:src|href)="(/page/[^"]+)"', files[INDEX].decode())
    assert {f"/page/{version}/{path}" for path in files} >= set(named)
    for path, content in files.items():
        assert set(modules.imported(path, content)) <= set(files), path


def test_every_module_that_is_needed_at_once_is_fetched_at_once() -> None:
    """A module that only its importer names is fetched one round trip later; one for later is not fetched first."""
    files, version = plain(), load_assets().version
    preloaded = re.findall(rf'rel="modulepreload" href="/page/{version}/([^"]+)"', files[INDEX].decode())
    assert preloaded == modules.needed_at_once(MAIN, files)
    later = set(files) - set(preloaded)
    assert {"js/compare/view.js", "js/status/view.js", "js/media/recorder.js", "js/code/dialog.js"} <= later
    assert sum(path.endswith(".js") for path in preloaded) < 24, "four rounds of a browser's six connections"


def test_the_version_changes_with_any_file_and_an_older_one_is_not_kept() -> None:
    assets = load_assets()
    main, kept = assets.find(f"{assets.version}/{MAIN}")
    assert (main, kept) == (assets.files[MAIN], FOR_GOOD)
    for path in (f"v-000000000000/{MAIN}", MAIN):
        found, kept = assets.find(path)
        assert (found, kept) == (main, "no-cache")
    assert assets.find(f"{assets.version}/none.js")[0] is None
    assert load_assets().version == assets.version, "two gateways of one release name the files alike"


def test_no_file_makes_markup_out_of_text() -> None:
    for path, content in plain().items():
        text = content.decode()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text), path
        assert not re.search(r"<script(?! type=\"module\" src=)", text), path
        assert not re.search(r"https?://(?!www\.w3\.org/)[a-z0-9-]+\.[a-z]", text), path


def test_the_page_is_served_confined_and_asked_for_once(shared_gateway: tuple[str, GatewayState]) -> None:
    url, _ = shared_gateway
    answer = httpx.get(f"{url}/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert {name: answer.headers[name] for name in HEADERS} == dict(HEADERS)
    assert answer.headers["cache-control"] == "no-cache"
    again = httpx.get(f"{url}/", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    module = re.findall(r'src="([^"]+main.js)"', answer.text)[0]
    assert httpx.get(f"{url}{module}").headers["cache-control"] == FOR_GOOD


def test_files_are_compressed_for_whoever_takes_that(shared_gateway: tuple[str, GatewayState]) -> None:
    url, _ = shared_gateway
    address = f"{url}/page/style.css"
    plain = httpx.get(address, headers=PLAIN)
    assert "content-encoding" not in plain.headers
    assert httpx.get(address, headers={"accept-encoding": "gzip;q=0, br"}).headers["etag"] == plain.headers["etag"]
    with httpx.stream("GET", address, headers={"accept-encoding": "br, gzip"}) as answer:
        packed = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["etag"] != plain.headers["etag"]
    assert answer.headers["vary"] == "accept-encoding"
    assert (gzip.decompress(packed), len(packed) < len(plain.content) / 2) == (plain.content, True)


def test_nothing_beside_the_pages_files_is_served(shared_gateway: tuple[str, GatewayState]) -> None:
    url, _ = shared_gateway
    for path in ("page/none.js", "page/%2e%2e/assets.py", "page/..%2fassets.py", "page/samples/%2e%2e%2fREADME.md"):
        assert httpx.get(f"{url}/{path}").status_code == 404


def test_samples_are_listed_and_served(shared_gateway: tuple[str, GatewayState]) -> None:
    url, _ = shared_gateway
    groups = httpx.get(f"{url}/page/samples").json()
    assert {"modality": "image", "file": "dog.png", "options": {}} in [one for group in groups for one in group]
    picture = httpx.get(f"{url}/page/samples/dog.png")
    again = httpx.get(f"{url}/page/samples/dog.png", headers={"if-none-match": picture.headers["etag"]})
    assert again.status_code == 304
    assert (picture.headers["content-type"], picture.content[1:4]) == ("image/png", b"PNG")


def test_a_setting_turns_the_page_off(start_gateway: Callable[..., tuple[str, GatewayState]]) -> None:
    url, _ = start_gateway(page=False)
    for path in ("/", "/page/style.css", "/page/samples"):
        answer = httpx.get(f"{url}{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_the_page_gets_the_registry_and_repeats_nothing_of_it() -> None:
    described = json.loads(modules.registry().decode().partition("REGISTRY = ")[2].rstrip(";\n"))
    assert list(described) == list(MODALITIES)
    for name, entry in MODALITIES.items():
        found = described[name]
        assert found["suffixes"] == list(entry.mime)
        assert {field: one["form"] for field, one in found["fields"].items()} == {
            parameter.name: entry.form_field(parameter) for parameter in entry.parameters
        }
        for parameter in entry.parameters:
            assert found["fields"][parameter.name].get("values", []) == list(getattr(parameter, "values", ()))
    written = plain()["js/media/modalities.js"].decode()
    assert not any(re.search(rf"\b{name}\b", written) for name in set(MODALITIES) - {"text"})
