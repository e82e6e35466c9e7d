"""The record of digests: the first sum of a file holds from then on, and a published one before it."""

from pathlib import Path

import pytest

from pandagpt_core.checkpoints import file_digest
from service.commands.models.fetching.checksums import NAME, Checksums, DownloadError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"weights")
    return path


def test_the_first_sum_is_recorded_as_sha256sum_writes_it(file: Path) -> None:
    Checksums(file.parent).check(file, "a/weights.pth", None)
    assert (file.parent / NAME).read_text() == f"{file_digest(file)}  a/weights.pth\n"


def test_another_file_under_a_recorded_name_is_refused(file: Path) -> None:
    Checksums(file.parent).check(file, "weights.pth", None)
    file.write_bytes(b"other weights")
    for record in (Checksums(file.parent), Checksums(file.parent)):  # a refusal records nothing
        with pytest.raises(DownloadError, match="was recorded"):
            record.check(file, "weights.pth", None)


def test_a_published_sum_is_held_before_anything_is_recorded(file: Path) -> None:
    with pytest.raises(DownloadError, match="is published"):
        Checksums(file.parent).check(file, "weights.pth", "0" * 64)
    assert not (file.parent / NAME).exists()
    Checksums(file.parent).check(file, "weights.pth", file_digest(file))
