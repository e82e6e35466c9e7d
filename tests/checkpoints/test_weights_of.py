"""A model folder whose encoder is the file of another folder beside it."""

from pathlib import Path

import pytest

from pandagpt_core.checkpoints import (
    ENCODER,
    EncoderSpec,
    LLMSpec,
    ModelFolder,
    file_digest,
    file_path,
    own_encoder,
    parse_model_folder,
    verify_files,
)
from pandagpt_core.errors import CheckpointError, DigestMismatch


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    (tmp_path / "first" / ENCODER).write_bytes(b"weights")
    return tmp_path


def borrowing(models: Path, weights_of: str | None = "first") -> ModelFolder:
    return ModelFolder(
        id="second",
        encoder=EncoderSpec(kind="mini", weights_of=weights_of),
        llm=LLMSpec(folder="llm"),
        recipes={},
        files={ENCODER: file_digest(models / "first" / ENCODER)},
        max_model_len=8,
    )


def test_the_encoder_is_read_from_the_folder_beside_it(models: Path) -> None:
    folder = borrowing(models)
    assert file_path(models / "second", folder, ENCODER).read_bytes() == b"weights"
    assert file_path(models / "second", folder, "adapter.safetensors").parent == models / "second"
    verify_files(models / "second", folder)


def test_a_changed_or_missing_neighbour_is_named(models: Path) -> None:
    folder = borrowing(models)
    (models / "first" / ENCODER).write_bytes(b"other")
    with pytest.raises(DigestMismatch, match=r"changed: encoder\.safetensors of the folder first beside it"):
        verify_files(models / "second", folder)
    (models / "first" / ENCODER).unlink()
    with pytest.raises(DigestMismatch, match=r"missing: encoder\.safetensors of the folder first beside it"):
        verify_files(models / "second", folder)


def test_where_the_weights_lie_does_not_change_the_embeddings_name(models: Path) -> None:
    folder = borrowing(models)
    assert folder.encoder_digest == borrowing(models, None).encoder_digest
    assert own_encoder(folder) == EncoderSpec(kind="mini")


@pytest.mark.parametrize("name", ["../first", "a/b", "..", "", ".hidden"])
def test_the_neighbour_is_a_plain_name(name: str) -> None:
    said = (
        '{"system": "pandagpt", "id": "x", "template": "chatml", "encoder": {"kind": "mini", "weights_of": "%s"},'
        ' "projection": {"in": 1, "out": 1}, "llm": {"folder": "llm"}, "recipes": {}, "files": {}, "max_model_len": 8}'
    )
    with pytest.raises(CheckpointError, match="weights_of"):
        parse_model_folder((said % name).encode())
