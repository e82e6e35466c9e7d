"""The place of each original, its wanted files, and their sizes: before the first transfer."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.commands.models.fetching.originals import Original
from service.commands.models.fetching.places import HeldFile, LocalPlace, Offered, Place
from service.commands.models.fetching.record import DownloadError
from service.commands.models.fetching.transfer import partial


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file: where it is, its place among the downloads, and its name in their record."""

    found: HeldFile | Offered
    target: Path
    name: str
    sha256: str | None = None

    @property
    def path(self) -> Path:
        return self.found.path if isinstance(self.found, HeldFile) else self.target

    @property
    def size(self) -> int:
        """Bytes; 0 where the host names none."""
        return self.found.path.stat().st_size if isinstance(self.found, HeldFile) else self.found.size or 0

    @property
    def missing(self) -> int:
        """Bytes that are still to come."""
        if isinstance(self.found, HeldFile) or self.target.is_file():
            return 0
        part = partial(self.target)
        return max(0, self.size - (part.stat().st_size if part.is_file() else 0))


@dataclass(frozen=True, slots=True)
class Planned:
    """`path` is the file, or the folder of `files`, once all of them are here."""

    path: Path
    files: tuple[Wanted, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


class Gathering:
    """Looks in the downloads, then in each place in turn. `fetch` brings a small file at once, since an index names
    the files that are to be planned."""

    def __init__(self, downloads: Path, places: Sequence[Place], fetch: Callable[[Wanted], Path]) -> None:
        self._downloads = downloads
        self._own = LocalPlace(downloads)
        self._places = places
        self._fetch = fetch

    def find(self, original: Original) -> Planned | None:
        """None where no place has it. Raises DownloadError."""
        plan = self._file if original.layout is None else self._folder
        places: Iterable[Place] = (self._own, *self._places)
        return next((planned for place in places if (planned := plan(place, original))), None)

    def _file(self, place: Place, original: Original) -> Planned | None:
        found = place.find(original)
        if found is None:
            return None
        wanted = self._wanted(found, original, "")
        if original.size is not None and wanted.size != original.size:
            raise DownloadError(f"{original.path}: {wanted.size:,} bytes, and {original.size:,} are published")
        return Planned(wanted.path, (wanted,))

    def _folder(self, place: Place, original: Original) -> Planned | None:
        layout = original.layout
        assert layout is not None
        if place.find(original, layout.mark) is None:
            return None
        texts = self._held(place, original, (layout.mark, *layout.texts, *layout.indexes))
        weights = self._weights(place, original, texts)
        if not weights:
            if place is self._own:
                return None  # an earlier call was interrupted
            raise DownloadError(f"{original.path}: the place that has its {layout.mark} lacks weights")
        return Planned(texts[0].path.parent, (*texts, *weights))

    def _weights(self, place: Place, original: Original, texts: Sequence[Wanted]) -> list[Wanted]:
        """All shards of the first index, or the first single file; empty where one of them is not there."""
        assert original.layout is not None
        index = next((text.path for text in texts if text.path.name in original.layout.indexes), None)
        if index is not None:
            shards = _shards(index)
            found = self._some(place, original, shards)
            return found if len(found) == len(shards) else []
        return self._some(place, original, original.layout.singles)[:1]

    def _held(self, place: Place, original: Original, names: Sequence[str]) -> list[Wanted]:
        """The small files that are there, on this machine after a transfer."""
        found = self._some(place, original, names)
        for one in found:
            self._fetch(one)
        return found

    def _some(self, place: Place, original: Original, names: Sequence[str]) -> list[Wanted]:
        return [self._wanted(found, original, name) for name in names if (found := place.find(original, name))]

    def _wanted(self, found: HeldFile | Offered, original: Original, name: str) -> Wanted:
        """The file to transfer, or the one that an earlier call brought."""
        here = self._own.find(original, name) if isinstance(found, Offered) else None
        path = f"{original.path}/{name}" if name else original.path
        published = found.sha256 if isinstance(found, Offered) else None
        return Wanted(here or found, self._downloads / path, path, published)


def _shards(index: Path) -> list[str]:
    """The files that an index names. Raises DownloadError for one that is no index, or that leaves its folder."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError):
        raise DownloadError(f"{index.name} is no index of shards") from None
    if any(not isinstance(name, str) or Path(name).name != name or name in ("", "..") for name in names):
        raise DownloadError(f"{index.name} names files outside of its folder")
    return names
