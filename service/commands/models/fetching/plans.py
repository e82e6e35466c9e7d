"""A whole system planned: each option of `pandagpt convert` with the files that become it, and the disks' share."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from service.commands.models.fetching.disk_space import Need
from service.commands.models.fetching.originals import Original, PublishedSystem, Summed
from service.commands.models.fetching.resolver import PlannedFile, PlannedFiles, Resolver
from service.settings import SettingsError


@dataclass(frozen=True, slots=True)
class PlannedSum:
    """A base and a delta, which become the folder `path` among the downloads."""

    path: Path
    base: PlannedFiles
    delta: PlannedFiles

    @property
    def files(self) -> tuple[PlannedFile, ...]:
        return (*self.base.files, *self.delta.files)

    @property
    def size(self) -> int:
        """Bytes of the sum, as many as the delta's."""
        return self.delta.size


Plans = Mapping[str, PlannedFiles | PlannedSum]


class _AbsentError(Exception):
    def __init__(self, originals: list[Original]) -> None:
        super().__init__(originals)
        self.originals = originals


def plan_system(system: PublishedSystem, resolver: Resolver, downloads: Path) -> Plans:
    """Raises SettingsError, which lists every file that must be given, and DownloadError."""
    plans: dict[str, PlannedFiles | PlannedSum] = {}
    absent: list[Original] = []
    for option, part in system.parts.items():
        try:
            plans[option] = _plan(part, resolver, downloads)
        except _AbsentError as error:
            absent += error.originals
    if absent:
        raise SettingsError("\n".join(map(absence, absent)))
    return plans


def absence(original: Original) -> str:
    what = "file" if original.layout is None else "folder"
    return f"the {what} {original.path} must be given by --from; its authors publish it at {original.page}"


def needs(plans: Plans, downloads: Path, out: Path) -> list[Need]:
    """Room for the missing files, for a delta's result, and for the model folder, which is as large as its sources."""
    coming = {wanted.name: wanted.missing for plan in plans.values() for wanted in plan.files}
    return [
        Need("downloads", downloads, sum(coming.values())),
        Need("a delta applied", downloads, sum(plan.size for plan in plans.values() if isinstance(plan, PlannedSum))),
        Need("model folder", out, sum(plan.size for plan in plans.values())),
    ]


def _plan(part: Original | Summed, resolver: Resolver, downloads: Path) -> PlannedFiles | PlannedSum:
    if isinstance(part, Original):
        return _had(resolver, part)[0]
    whole = resolver.find(part.whole)
    if whole is not None:
        return whole
    base, delta = _had(resolver, part.base, part.delta)
    return PlannedSum(downloads / part.whole.path, base, delta)


def _had(resolver: Resolver, *originals: Original) -> list[PlannedFiles]:
    found = {original: resolver.find(original) for original in originals}
    absent = [original for original, planned in found.items() if planned is None]
    if absent:
        raise _AbsentError(absent)
    return [planned for planned in found.values() if planned is not None]
