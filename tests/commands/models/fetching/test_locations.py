"""Locations of an original: a folder, a mirror, its authors' address; a host's facts about it."""

from pathlib import Path

import httpx
import pytest

from service.commands.models.fetching.checksums import DownloadError
from service.commands.models.fetching.licences import IMAGEBIND
from service.commands.models.fetching.locations import (
    LocalFile,
    LocalFolder,
    MirrorSite,
    Publisher,
    RemoteFile,
    ask,
    given_location,
)
from service.commands.models.fetching.originals import HUGGING_FACE, Original
from service.settings import SettingsError

DIGEST = "ab" * 32
FOLDER = Original("folder", IMAGEBIND, "https://x.test", "https://x.test/resolve", HUGGING_FACE)


def client(*answers: httpx.Response) -> httpx.Client:
    left = list(answers)
    return httpx.Client(transport=httpx.MockTransport(lambda _: left.pop(0)), trust_env=False)


def linked(**headers: str) -> httpx.Response:
    return httpx.Response(302, headers={"location": "https://cdn.test/file", **headers})


def test_a_folder_holds_a_file_under_the_tables_path(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "config.json").write_text("{}")
    place = LocalFolder(tmp_path)
    assert place.find(FOLDER, "config.json") == LocalFile(tmp_path / "folder" / "config.json")
    assert place.find(FOLDER, "tokenizer.model") is None


def test_names_are_quoted_in_addresses() -> None:
    host = client(httpx.Response(200), httpx.Response(200))
    for place in (MirrorSite(host, "https://m.test/"), Publisher(host)):
        found = place.find(FOLDER, "a b?.bin")
        assert found is not None
        assert found.url.endswith("/a%20b%3F.bin")


def test_the_redirect_that_describes_the_file_gives_its_size_and_digest() -> None:
    found = ask(client(linked(**{"x-linked-size": "7", "x-linked-etag": f'"{DIGEST.upper()}"'})), "https://x.test/a")
    assert found == RemoteFile("https://x.test/a", 7, DIGEST)


@pytest.mark.parametrize("etag", ["", '"abc"', '"' + "a" * 40 + '"'])
def test_what_is_no_sha_256_is_no_digest(etag: str) -> None:
    found = ask(client(linked(**{"x-linked-size": "7", "x-linked-etag": etag})), "https://x.test/a")
    assert found == RemoteFile("https://x.test/a", 7, None)


@pytest.mark.parametrize("status", [404, 410])
def test_a_host_without_the_file_is_passed_over(status: int) -> None:
    assert ask(client(httpx.Response(status)), "https://x.test/a") is None


def test_a_host_that_redirects_for_ever_or_refuses_is_an_error() -> None:
    for answers in ([linked()] * 20, [httpx.Response(403)]):
        with pytest.raises(DownloadError, match="download it by hand"):
            ask(client(*answers), "https://x.test/a")


def test_an_original_without_an_address_must_be_given() -> None:
    assert Publisher(client()).find(Original("file", IMAGEBIND, "https://x.test")) is None


def test_a_given_place_is_an_address_or_a_folder_that_exists(tmp_path: Path) -> None:
    assert isinstance(given_location(client(), "https://m.test"), MirrorSite)
    assert isinstance(given_location(client(), str(tmp_path)), LocalFolder)
    with pytest.raises(SettingsError, match="there is no such folder"):
        given_location(client(), "ftp://m.test")
