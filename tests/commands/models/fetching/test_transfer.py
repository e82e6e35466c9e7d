"""A download ends whole and verified, or with a sentence that says what is kept."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pandagpt_core.checkpoints import file_digest
from service.commands.models.fetching import transfer
from service.commands.models.fetching.checksums import NAME, Checksums, DownloadError
from service.commands.models.fetching.downloader import Downloader
from service.commands.models.fetching.locations import MirrorSite, Publisher, ask
from service.commands.models.fetching.originals import SYSTEMS, Original
from service.commands.models.fetching.resolver import PlannedFile
from tests.commands.models.fetching.mirror import Mirror, mirrored

DATA = bytes(range(256)) * 1000
FILE = "/weights.pth"


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with mirrored({FILE: DATA}) as made:
        yield made


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(follow_redirects=True, trust_env=False) as made:
        yield made


def wanted(
    client: httpx.Client, mirror: Mirror, folder: Path, digest: str | None = None, path: str = FILE
) -> PlannedFile:
    offered = ask(client, f"{mirror.url}{path}")
    assert offered is not None
    return PlannedFile(offered, folder / "weights.pth", "weights.pth", digest or offered.sha256)


def downloader(client: httpx.Client, folder: Path) -> Downloader:
    return Downloader(client, Checksums(folder), lambda _: None)


def test_a_cut_connection_goes_on_from_its_last_byte(mirror: Mirror, client: httpx.Client, tmp_path: Path) -> None:
    mirror.cuts[FILE] = [100_000, 50_000]
    path = downloader(client, tmp_path).fetch(wanted(client, mirror, tmp_path))
    assert path.read_bytes() == DATA
    assert mirror.ranges(FILE) == [None, "bytes=100000-", "bytes=150000-"]
    assert sorted(one.name for one in tmp_path.iterdir()) == [NAME, "weights.pth"]


def test_a_second_call_goes_on_where_the_first_gave_up(mirror: Mirror, client: httpx.Client, tmp_path: Path) -> None:
    mirror.cuts[FILE] = [100_000, *[0] * transfer.ATTEMPTS]
    with pytest.raises(DownloadError, match=r"brought no byte.*100,000 bytes are kept"):
        downloader(client, tmp_path).fetch(wanted(client, mirror, tmp_path))
    assert not (tmp_path / "weights.pth").exists()
    mirror.asked.clear()
    assert downloader(client, tmp_path).fetch(wanted(client, mirror, tmp_path)).read_bytes() == DATA
    assert mirror.ranges(FILE) == ["bytes=100000-"]


def test_a_file_that_changed_meanwhile_is_begun_anew(mirror: Mirror, client: httpx.Client, tmp_path: Path) -> None:
    mirror.cuts[FILE] = [100_000, *[0] * transfer.ATTEMPTS]
    with pytest.raises(DownloadError):
        downloader(client, tmp_path).fetch(wanted(client, mirror, tmp_path))
    mirror.files[FILE] = DATA[::-1]
    assert downloader(client, tmp_path).fetch(wanted(client, mirror, tmp_path)).read_bytes() == DATA[::-1]


def test_a_part_longer_than_the_file_is_begun_anew(mirror: Mirror, client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "weights.pth.part").write_bytes(DATA * 2)
    assert downloader(client, tmp_path).fetch(wanted(client, mirror, tmp_path)).read_bytes() == DATA


def test_a_wrong_sum_is_refused_and_the_part_removed(mirror: Mirror, client: httpx.Client, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=f"{'0' * 64} is published; the download is removed"):
        downloader(client, tmp_path).fetch(wanted(client, mirror, tmp_path, "0" * 64))
    assert list(tmp_path.iterdir()) == []


def test_the_sum_that_a_host_links_is_held_against_the_file(
    mirror: Mirror, client: httpx.Client, tmp_path: Path
) -> None:
    linked = f"/linked{FILE}"
    assert downloader(client, tmp_path).fetch(wanted(client, mirror, tmp_path, path=linked)).read_bytes() == DATA
    mirror.kinds["digest"] = "f" * 64
    with pytest.raises(DownloadError, match=r"f{64} is published"):
        downloader(client, tmp_path / "other").fetch(wanted(client, mirror, tmp_path / "other", path=linked))


def test_the_first_sum_is_recorded_and_held_later(mirror: Mirror, client: httpx.Client, tmp_path: Path) -> None:
    path = downloader(client, tmp_path).fetch(wanted(client, mirror, tmp_path))
    assert (tmp_path / NAME).read_text() == f"{file_digest(path)}  weights.pth\n"
    path.unlink()
    mirror.files[FILE] = DATA[::-1]
    with pytest.raises(DownloadError, match=rf"was recorded in {NAME} \(.*\); the download is removed"):
        downloader(client, tmp_path).fetch(wanted(client, mirror, tmp_path))


def test_a_web_page_instead_of_the_file_is_refused(mirror: Mirror, client: httpx.Client, tmp_path: Path) -> None:
    mirror.kinds[FILE] = "text/html; charset=utf-8"
    with pytest.raises(DownloadError, match="a web page came"):
        downloader(client, tmp_path).fetch(wanted(client, mirror, tmp_path))
    assert not (tmp_path / NAME).exists()


def test_a_host_that_is_busy_is_asked_again(mirror: Mirror, client: httpx.Client, tmp_path: Path) -> None:
    mirror.refusals = [503, 429]
    assert downloader(client, tmp_path).fetch(wanted(client, mirror, tmp_path)).read_bytes() == DATA


def test_a_host_that_refuses_is_left_with_a_way_out(mirror: Mirror, client: httpx.Client, tmp_path: Path) -> None:
    mirror.refusals = [403]
    with pytest.raises(DownloadError, match="the host answers 403; download it by hand and name its folder"):
        downloader(client, tmp_path).fetch(wanted(client, mirror, tmp_path))
    assert len(mirror.ranges(FILE)) == 1


def test_more_bytes_than_were_named_are_refused(mirror: Mirror, client: httpx.Client, tmp_path: Path) -> None:
    one = wanted(client, mirror, tmp_path)
    mirror.files[FILE] = DATA + b"more"
    with pytest.raises(DownloadError, match="256,004 bytes came, and 256,000 were named; the part is removed"):
        downloader(client, tmp_path).fetch(one)
    assert list(tmp_path.iterdir()) == []


def test_the_sum_that_is_known_holds_for_the_authors_own_address_alone() -> None:
    imagebind = SYSTEMS["pandagpt-7b"].parts["imagebind"]
    assert isinstance(imagebind, Original)
    answers = httpx.MockTransport(lambda _: httpx.Response(200, headers={"content-length": "5"}))
    with httpx.Client(transport=answers) as client:
        published, mirrored = Publisher(client), MirrorSite(client, "http://mirror.test")
        found, other = published.find(imagebind), mirrored.find(imagebind)
    assert found is not None
    assert other is not None
    assert found.sha256 == imagebind.sha256 == "d6f6c22bedcc90708448d5d2fbb7b2db9c73f505dc89bd0b2e09b23af1b62157"
    assert other.sha256 is None
