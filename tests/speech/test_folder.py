"""A recogniser's folder is read only with the files that it names."""

import hashlib
from pathlib import Path

import pytest

from pandagpt_core.errors import CheckpointError, DigestMismatch
from pandagpt_core.speech.folder import SpeechFolder, read_speech_folder, write_speech_folder

FILES = {"model.bin": b"weights", "tokenizer.json": b"{}"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}
    write_speech_folder(tmp_path, SpeechFolder(id="tiny", licence="MIT", files=sums))
    return tmp_path


def test_a_folder_as_it_was_made_is_read(folder: Path) -> None:
    assert read_speech_folder(folder).id == "tiny"


def test_a_changed_file_is_refused(folder: Path) -> None:
    (folder / "model.bin").write_bytes(b"wrights")
    with pytest.raises(DigestMismatch, match=r"model\.bin"):
        read_speech_folder(folder)


def test_a_folder_without_a_file_or_its_sum_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"lacks tokenizer\.json"):
        read_speech_folder(folder)
    write_speech_folder(folder, SpeechFolder(id="tiny", licence="MIT", files={}))
    with pytest.raises(CheckpointError, match=r"names no SHA-256 of model\.bin"):
        read_speech_folder(folder)
    with pytest.raises(CheckpointError, match="no folder of a recogniser"):
        read_speech_folder(folder / "elsewhere")
