"""The wanted files of an original: by its index, within its folder, and none that is here already."""

import json
from pathlib import Path

import pytest

from service.commands.models.fetching.checksums import DownloadError
from service.commands.models.fetching.licences import VICUNA
from service.commands.models.fetching.locations import LocalFolder, RemoteFile
from service.commands.models.fetching.originals import HUGGING_FACE, Original
from service.commands.models.fetching.resolver import PlannedFile, Resolver

MODEL = Original("llm", VICUNA, "https://x.test", layout=HUGGING_FACE)
INDEX = "model.safetensors.index.json"


@pytest.fixture
def given(tmp_path: Path) -> Path:
    folder = tmp_path / "given" / "llm"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def resolver(given: Path) -> Resolver:
    return Resolver(given.parents[1] / "downloads", [LocalFolder(given.parent)], lambda wanted: wanted.path)


def test_all_shards_of_an_index_are_wanted(given: Path) -> None:
    shards = {"a": "1.safetensors", "b": "2.safetensors", "c": "1.safetensors"}
    (given / INDEX).write_text(json.dumps({"weight_map": shards}))
    (given / "1.safetensors").write_bytes(b"1")
    with pytest.raises(DownloadError, match="lacks weights"):
        resolver(given).find(MODEL)
    (given / "2.safetensors").write_bytes(b"22")
    planned = resolver(given).find(MODEL)
    assert planned is not None
    assert {file.name for file in planned.files} == {
        "llm/config.json", f"llm/{INDEX}", "llm/1.safetensors", "llm/2.safetensors"
    }  # fmt: skip
    assert planned.path == given


@pytest.mark.parametrize("shard", ["../stolen.bin", "/etc/passwd", "a/b.bin", "..", "", 5])
def test_an_index_that_leaves_its_folder_is_refused(given: Path, shard: object) -> None:
    (given / INDEX).write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(DownloadError, match="outside of its folder"):
        resolver(given).find(MODEL)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": []}}'])
def test_what_is_no_index_is_refused(given: Path, text: str) -> None:
    (given / INDEX).write_text(text)
    with pytest.raises(DownloadError, match="is no index of shards"):
        resolver(given).find(MODEL)


def test_a_file_of_another_size_than_the_published_one_is_refused(given: Path) -> None:
    (given.parent / "encoder.pth").write_bytes(b"12345")
    with pytest.raises(DownloadError, match="5 bytes, and 7 are published"):
        resolver(given).find(Original("encoder.pth", VICUNA, "https://x.test", size=7))


def test_what_is_still_to_come_counts_the_part_at_hand(tmp_path: Path) -> None:
    wanted = PlannedFile(RemoteFile("https://x.test/a", 10), tmp_path / "a", "a")
    assert wanted.missing == 10
    (tmp_path / "a.part").write_bytes(b"1234")
    assert wanted.missing == 6
    (tmp_path / "a").write_bytes(b"1234567890")
    assert wanted.missing == 0
