"""The check that the disks have room for all files, before the first byte is written."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from service.settings import SettingsError


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that will be written at `place`."""

    what: str
    place: Path
    size: int


def check_space(needs: Iterable[Need]) -> None:
    """Raises SettingsError with the figures of each disk that is too small."""
    disks: dict[int, list[Need]] = {}
    for need in needs:
        disks.setdefault(_existing(need.place).stat().st_dev, []).append(need)
    refused = [complaint for of_disk in disks.values() if (complaint := _complaint(of_disk))]
    if refused:
        raise SettingsError("\n".join(refused))


def _complaint(needs: list[Need]) -> str:
    wanted = sum(need.size for need in needs)
    free = shutil.disk_usage(_existing(needs[0].place)).free
    if wanted <= free:
        return ""
    each = ", ".join(f"{need.what} {need.size:,}" for need in needs if need.size)
    return f"{needs[0].place}: {wanted:,} bytes are needed ({each}), the disk has {free:,} free"


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    absolute = path.absolute()
    return next(one for one in (absolute, *absolute.parents) if one.exists())
