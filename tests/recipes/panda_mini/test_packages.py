"""Packages of data: fetched whole or not at all, once, unpacked whatever the archive; and icons read from them."""

import io
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from recipes.panda_mini.concepts import load_concepts
from recipes.panda_mini.data.corpus import training_pictures
from recipes.panda_mini.data.media import clip_art, icons
from recipes.panda_mini.data.packages import PACKAGES, FetchError, Package, fetch, fetch_all, run
from recipes.panda_mini.data.recordings import NAMED

CONCEPTS = load_concepts()
NPM = Package("npm", "@icons/some-style", "MIT", "train", "icons")
PYPI = Package("pypi", "names", "MIT", "train", "names")


def tarball(_name: str, folder: Path) -> Path:
    with tarfile.open(folder / "some-1.0.tgz", "w:gz") as bundle:
        entry = tarfile.TarInfo("package/icons.json")
        entry.size = 2
        bundle.addfile(entry, io.BytesIO(b"{}"))
    return folder / "some-1.0.tgz"


def wheel(_name: str, folder: Path) -> Path:
    with zipfile.ZipFile(folder / "names-2.0.whl", "w") as bundle:
        bundle.writestr("names/all.json", "[]")
    return folder / "names-2.0.whl"


def broken(_name: str, folder: Path) -> Path:
    (folder / "some-1.0.tgz").write_bytes(b"no archive")
    return folder / "some-1.0.tgz"


def refused(_name: str, _folder: Path) -> Path:
    raise OSError("asked for a second time")


def test_an_archive_is_unpacked_beside_the_name_that_tells_its_version(tmp_path: Path) -> None:
    npm, pypi = fetch(NPM, tmp_path, {"npm": tarball}), fetch(PYPI, tmp_path, {"pypi": wheel})
    assert npm.name == "icons-some-style"
    assert (npm / "package/icons.json").read_text() == "{}"
    assert (npm / "VERSION").read_text() == "some-1.0.tgz\n"
    assert (pypi / "names/all.json").read_text() == "[]"


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    first = fetch(NPM, tmp_path, {"npm": tarball})
    assert fetch(NPM, tmp_path, {"npm": refused}) == first


def test_an_archive_that_is_none_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(tarfile.TarError):
        fetch(NPM, tmp_path, {"npm": broken})
    assert list(tmp_path.iterdir()) == []


def test_a_client_that_fails_is_named_with_the_end_of_its_complaint(tmp_path: Path) -> None:
    complaint = "import sys; print(*range(20), 'E404 no such package', sep='\\n', file=sys.stderr); sys.exit(3)"

    def failing(name: str, folder: Path) -> Path:
        run(name, [sys.executable, "-c", complaint], folder)
        raise AssertionError("it went on")

    with pytest.raises(FetchError) as told:
        fetch(NPM, tmp_path, {"npm": failing})
    first, *tail = str(told.value).splitlines()
    assert first.startswith("@icons/some-style: `")
    assert first.endswith("ended with 3:")
    assert tail == [*map(str, range(9, 20)), "E404 no such package"]
    assert list(tmp_path.iterdir()) == []


def test_clients_that_are_missing_are_told_before_anything_is_fetched(tmp_path: Path) -> None:
    debian = Package("debian", "drawings", "MIT", "train", "drawings")
    there = {"npm": "/usr/bin/npm", "apt-get": "/usr/bin/apt-get"}
    with pytest.raises(FetchError, match=r"^dpkg-deb not installed; needed to fetch drawings$"):
        fetch_all(tmp_path, (NPM, debian), there.get)
    with pytest.raises(FetchError, match=r"^apt-get and dpkg-deb and npm not installed; needed to fetch @icons"):
        fetch_all(tmp_path, (NPM, PYPI, debian), lambda _tool: None)
    assert list(tmp_path.iterdir()) == []
    for package in (NPM, debian):
        (tmp_path / package.folder).mkdir()
    assert fetch_all(tmp_path, (NPM, debian), lambda _tool: None).keys() == {NPM.name, debian.name}


def test_icons_are_those_of_concepts_and_others_by_name_and_tags(tmp_path: Path) -> None:
    for folder, name, content in (
        ("iconify-json-own", "icons.json", {"height": 8, "width": 8, "icons": {
            "dog-face": {"body": '<rect width="8" height="8"/>'},
            "roller-coaster": {"body": '<rect width="4" height="8"/>'},
            "flag-france": {"body": ""},
        }}),
        ("emojibase-data", "en/data.json", [{"label": "roller coaster", "tags": ["amusement", "park"]}]),
    ):  # fmt: skip
        path = tmp_path / folder / "package" / name
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))
    dog, coaster = icons(tmp_path, CONCEPTS, ("own",))
    assert CONCEPTS[dog.concept].name == "dog"
    assert dog.draw().size == (224, 224)
    assert (coaster.concept, coaster.names) == (-1, ("roller coaster", "amusement", "park"))


def test_only_permissive_licences_are_trained_on() -> None:
    permissive = {"Apache-2.0", "MIT", "CC-BY-4.0", "CC0-1.0", "public domain", "BSD-3-Clause"}
    assert [(p.name, p.licence) for p in PACKAGES if p.use == "train" and p.licence not in permissive] == []
    assert {p.licence for p in PACKAGES if p.use == "train"} == permissive


def test_pictures_to_train_on_are_made_without_the_held_out_packages(tmp_path: Path) -> None:
    drawn = json.dumps({"icons": {"dog-face": {"body": '<rect width="8" height="8"/>'}}})
    trained = [p for p in PACKAGES if p.use == "train"]
    for package in trained:
        folder = tmp_path / package.folder / "package"
        (folder / "en").mkdir(parents=True)
        (folder / "icons.json").write_text(drawn)
        (folder / "en" / "data.json").write_text("[]")
    sources = {f"iconify-json-{picture.source}" for picture in training_pictures(tmp_path)}
    assert sources == {p.folder for p in trained if p.holds == "icons"}


def test_real_recordings_are_of_packages_that_are_held_out() -> None:
    use = {package.name: package.use for package in PACKAGES}
    assert {use[name] for name in NAMED} == {"validation"}


def test_clip_art_that_a_held_out_package_has_too_is_not_trained_on(tmp_path: Path) -> None:
    folder = tmp_path / "openclipart-png/usr/share/openclipart/png/food"
    folder.mkdir(parents=True)
    for name in ("banana", "banana_split", "bread_01", "bread_02"):
        (folder / f"{name}.png").write_bytes(b"any")
    assert "banana" not in {picture.stem for picture in clip_art(tmp_path, CONCEPTS)}
    assert {"bread_02"} <= {picture.stem for picture in clip_art(tmp_path, CONCEPTS)} <= {"bread_02", "banana_split"}


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed")
def test_a_debian_package_is_unpacked_below_a_cache_that_is_named_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `make mini` names its own."""
    control = tmp_path / "made/DEBIAN/control"
    control.parent.mkdir(parents=True)
    control.write_text("Package: drawings\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: d\n")
    (tmp_path / "made/usr").mkdir()
    (tmp_path / "made/usr/one.svg").write_text("<svg/>")

    def packed(_name: str, folder: Path) -> Path:
        command = ["dpkg-deb", "--root-owner-group", "-b", str(tmp_path / "made"), str(folder / "drawings.deb")]
        subprocess.run(command, check=True, capture_output=True)
        return folder / "drawings.deb"

    monkeypatch.chdir(tmp_path)
    Path("cache").mkdir()
    package = Package("debian", "drawings", "MIT", "train", "drawings")
    assert (fetch(package, Path("cache"), {"debian": packed}) / "usr/one.svg").read_text() == "<svg/>"
