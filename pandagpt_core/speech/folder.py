"""A recogniser's folder: CTranslate2's files of a Whisper, and speech.json, which holds their SHA-256."""

import hashlib
from pathlib import Path

import msgspec

from pandagpt_core.errors import CheckpointError, DigestMismatch

SPEECH = "speech.json"
MODEL, TOKENIZER = "model.bin", "tokenizer.json"


class SpeechFolder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """id: the model's name. files: each file's SHA-256; the model's own names the recogniser in caches."""

    id: str
    licence: str
    files: dict[str, str]
    source: str = ""


def read_speech_folder(path: Path) -> SpeechFolder:
    """Raises CheckpointError for a folder without its files or its digests, DigestMismatch for other files."""
    try:
        folder = msgspec.json.decode((path / SPEECH).read_bytes(), type=SpeechFolder)
    except (OSError, msgspec.MsgspecError) as error:
        raise CheckpointError(f"{path} is no folder of a recogniser: {SPEECH}: {error}") from error
    missing = [name for name in (MODEL, TOKENIZER) if name not in folder.files]
    if missing:
        raise CheckpointError(f"{SPEECH} of {path} names no SHA-256 of {', '.join(missing)}")
    for name, digest in folder.files.items():
        _check(path, name, digest)
    return folder


def write_speech_folder(path: Path, folder: SpeechFolder) -> None:
    (path / SPEECH).write_bytes(msgspec.json.format(msgspec.json.encode(folder), indent=1) + b"\n")


def _check(path: Path, name: str, digest: str) -> None:
    if Path(name).name != name or not (path / name).is_file():
        raise CheckpointError(f"{path} lacks {name}, which its {SPEECH} names")
    with (path / name).open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != digest:
        raise DigestMismatch(f"{path / name} is not the file of SHA-256 {digest}")
