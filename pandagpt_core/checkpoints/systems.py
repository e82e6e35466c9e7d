"""config.json read strictly and written back: a union of the systems' schemas, tagged by `system`.

A new system adds its struct to `SystemFolder`. A config.json without a tag is PandaGPT's: it is older than the tag.
"""

from pathlib import Path
from typing import TypeVar

import msgspec

from pandagpt_core.checkpoints.folder import CONFIG, ModelFolder
from pandagpt_core.checkpoints.imagebind_llm import ImageBindLLMFolder
from pandagpt_core.checkpoints.minigpt_v2 import MiniGPTv2Folder
from pandagpt_core.checkpoints.pandagpt import PandaGPTFolder
from pandagpt_core.errors import CheckpointError

SystemFolder = PandaGPTFolder | MiniGPTv2Folder | ImageBindLLMFolder
UNTAGGED = "pandagpt"

Folder = TypeVar("Folder", bound=ModelFolder)


def parse_model_folder(data: bytes) -> SystemFolder:
    """config.json's bytes as its system's struct.

    Raises CheckpointError that names an unknown, absent or wrong field.
    """
    try:
        fields = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        if "system" not in fields:
            data = msgspec.json.encode({"system": UNTAGGED, **fields})
        folder: SystemFolder = msgspec.json.decode(data, type=SystemFolder)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{CONFIG}: {error}") from error
    return folder


def read_model_folder(path: Path) -> SystemFolder:
    """Read config.json of the model folder at `path`."""
    try:
        data = (path / CONFIG).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path.name} is not a model folder: {CONFIG}: {error.strerror}") from error
    return parse_model_folder(data)


def read_folder_of(path: Path, schema: type[Folder]) -> Folder:
    """The folder at `path`, which must be of the system whose struct is `schema`. Raises CheckpointError."""
    return as_system(read_model_folder(path), schema)


def as_system(folder: ModelFolder, schema: type[Folder]) -> Folder:
    """The same folder with its system's type. Raises CheckpointError for a folder of another system."""
    if not isinstance(folder, schema):
        wanted = schema.__struct_config__.tag
        raise CheckpointError(f"{folder.id} is a folder of the system {folder.system}; this is for {wanted}")
    return folder


def write_model_folder(path: Path, folder: ModelFolder) -> None:
    """Write config.json, indented, keys in the schema's order. Raises CheckpointError for unreadable values."""
    (path / CONFIG).write_bytes(msgspec.json.format(_checked(folder), indent=2) + b"\n")


def check_model_folder(folder: ModelFolder) -> None:
    """Raise CheckpointError for values that the schema refuses; the constructor, for speed, does not look."""
    _checked(folder)


def _checked(folder: ModelFolder) -> bytes:
    encoded = msgspec.json.encode(folder)
    parse_model_folder(encoded)
    return encoded
