"""The files of each original that are to be transferred, with their locations and sizes: before the first transfer."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.commands.models.fetching.checksums import DownloadError
from service.commands.models.fetching.locations import LocalFile, LocalFolder, Location, RemoteFile
from service.commands.models.fetching.originals import Original
from service.commands.models.fetching.transfer import partial


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file: where it is, its place among the downloads, and its name in their record."""

    found: LocalFile | RemoteFile
    target: Path
    name: str
    sha256: str | None = None

    @property
    def path(self) -> Path:
        return self.found.path if isinstance(self.found, LocalFile) else self.target

    @property
    def size(self) -> int:
        """Bytes; 0 where the host names none."""
        return self.found.path.stat().st_size if isinstance(self.found, LocalFile) else self.found.size or 0

    @property
    def missing(self) -> int:
        """Bytes that are still to come."""
        if isinstance(self.found, LocalFile) or self.target.is_file():
            return 0
        part = partial(self.target)
        return max(0, self.size - (part.stat().st_size if part.is_file() else 0))


@dataclass(frozen=True, slots=True)
class PlannedFiles:
    """`path` is the file, or the folder of `files`, once all of them are here."""

    path: Path
    files: tuple[PlannedFile, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


class Resolver:
    """Looks in the downloads, then in each location in turn. `fetch` brings a small file at once, since an index names
    the files that are to be planned."""

    def __init__(self, downloads: Path, locations: Sequence[Location], fetch: Callable[[PlannedFile], Path]) -> None:
        self._downloads = downloads
        self._downloaded = LocalFolder(downloads)
        self._locations = locations
        self._fetch = fetch

    def find(self, original: Original) -> PlannedFiles | None:
        """None where no location has it. Raises DownloadError."""
        plan = self._file if original.layout is None else self._folder
        locations: Iterable[Location] = (self._downloaded, *self._locations)
        return next((planned for location in locations if (planned := plan(location, original))), None)

    def _file(self, location: Location, original: Original) -> PlannedFiles | None:
        found = location.find(original)
        if found is None:
            return None
        wanted = self._wanted(found, original, "")
        if original.size is not None and wanted.size != original.size:
            raise DownloadError(f"{original.path}: {wanted.size:,} bytes, and {original.size:,} are published")
        return PlannedFiles(wanted.path, (wanted,))

    def _folder(self, location: Location, original: Original) -> PlannedFiles | None:
        layout = original.layout
        assert layout is not None
        if location.find(original, layout.mark) is None:
            return None
        texts = self._held(location, original, (layout.mark, *layout.texts, *layout.indexes))
        weights = self._weights(location, original, texts)
        if not weights:
            if location is self._downloaded:
                return None  # an earlier call was interrupted
            raise DownloadError(f"{original.path}: the place that has its {layout.mark} lacks weights")
        return PlannedFiles(texts[0].path.parent, (*texts, *weights))

    def _weights(self, location: Location, original: Original, texts: Sequence[PlannedFile]) -> list[PlannedFile]:
        """All shards of the first index, or the first single file; empty where one of them is not there."""
        assert original.layout is not None
        index = next((text.path for text in texts if text.path.name in original.layout.indexes), None)
        if index is not None:
            shards = _shards(index)
            found = self._some(location, original, shards)
            return found if len(found) == len(shards) else []
        return self._some(location, original, original.layout.singles)[:1]

    def _held(self, location: Location, original: Original, names: Sequence[str]) -> list[PlannedFile]:
        """The small files that are there, on this machine after a transfer."""
        found = self._some(location, original, names)
        for one in found:
            self._fetch(one)
        return found

    def _some(self, location: Location, original: Original, names: Sequence[str]) -> list[PlannedFile]:
        return [self._wanted(found, original, name) for name in names if (found := location.find(original, name))]

    def _wanted(self, found: LocalFile | RemoteFile, original: Original, name: str) -> PlannedFile:
        """The file to transfer, or the one that an earlier call brought."""
        here = self._downloaded.find(original, name) if isinstance(found, RemoteFile) else None
        path = f"{original.path}/{name}" if name else original.path
        published = found.sha256 if isinstance(found, RemoteFile) else None
        return PlannedFile(here or found, self._downloads / path, path, published)


def _shards(index: Path) -> list[str]:
    """The files that an index names. Raises DownloadError for one that is no index, or that leaves its folder."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError):
        raise DownloadError(f"{index.name} is no index of shards") from None
    if any(not isinstance(name, str) or Path(name).name != name or name in ("", "..") for name in names):
        raise DownloadError(f"{index.name} names files outside of its folder")
    return names
