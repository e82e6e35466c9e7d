"""The model folder: the schema of its config.json, read strictly and written back.

config.json           this schema
encoder.safetensors   the towers, under the original's key names
adapter.safetensors   `projection.weight` [out, in], `projection.bias` [out], where it recalls
                      `projection.recall` [directions, in], and LoRA pairs beside the weights that they change:
                      `model.layers.N.self_attn.q_proj.lora_A.weight` [r, in], `.lora_B.weight` [out, r]
llm/                  a Hugging Face LLaMA folder, unless `llm` names a file of an installed package
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from pandagpt_core.errors import CheckpointError
from pandagpt_core.types import Modality

CONFIG = "config.json"
ENCODER = "encoder.safetensors"
ADAPTER = "adapter.safetensors"

Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Positive = Annotated[int, msgspec.Meta(ge=1)]


class EncoderSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which towers: `sizes` is the kind's own table, which the kind's class checks (ImageBind: `encoders/sizes.py`).

    variant "pandagpt" scales no audio embedding (PandaGPT's fork), "imagebind" scales as the original does.
    """

    kind: Literal["imagebind", "mini"]
    variant: Literal["imagebind", "pandagpt"] = "pandagpt"
    sizes: dict[str, Any] = {}


class RecallSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The look-up before the projection (`fusion.Recall`): how many known directions, and how sharply one chooses."""

    directions: Positive
    sharpness: Annotated[float, msgspec.Meta(gt=0)]


class ProjectionSpec(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename={"in_dim": "in", "out_dim": "out"},
):
    """The linear layer from the shared space (`in`) into the language model's width (`out`), perhaps after a recall."""

    in_dim: Positive
    out_dim: Positive
    recall: RecallSpec | None = None


class LoraSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Low-rank updates W + alpha / r * B A of every layer's `targets`; `merged` says the LLM's weights hold them."""

    r: Positive
    alpha: float
    targets: tuple[str, ...]
    merged: bool = False

    @property
    def scale(self) -> float:
        return self.alpha / self.r


class LLMSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where the language model is: a `folder` beside config.json, or a `file` of an installed Python `package`."""

    folder: str | None = None
    package: str | None = None
    file: str | None = None
    sha256: Digest | None = None

    def __post_init__(self) -> None:
        of_package = (self.package, self.file, self.sha256)
        if self.folder is None and None in of_package:
            raise ValueError("llm names neither a folder nor a package, a file and its sha256")
        if self.folder is not None and of_package != (None, None, None):
            raise ValueError("llm names a folder and a package; one is enough")


class BosSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token a prompt begins with, and the tokenizer file that says so (Vicuna v0 folders disagree)."""

    id: int
    piece: str
    source: str


class ModelFolder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that config.json says. `files` holds the SHA-256 of every other file, by its path inside the folder."""

    format: Literal[1] = 1
    id: Annotated[str, msgspec.Meta(min_length=1)]
    system: Literal["pandagpt"] = "pandagpt"
    template: Literal["vicuna-v0", "chatml"]
    encoder: EncoderSpec
    projection: ProjectionSpec
    lora: LoraSpec | None = None
    llm: LLMSpec
    bos: BosSpec | None = None
    recipes: dict[Modality, str]
    files: dict[str, Digest]
    sampling_defaults: dict[str, float] = {}
    max_model_len: Positive
    created: int = 0
    version: str = "1"
    provenance: dict[str, Any] = {}

    @property
    def encoder_digest(self) -> str:
        """Names encoder, its weights and its preprocessing: equal digests give equal embeddings for equal bytes."""
        said = msgspec.json.encode((self.encoder, self.files.get(ENCODER, ""), self.recipes), order="sorted")
        return hashlib.sha256(said).hexdigest()


def parse_model_folder(data: bytes) -> ModelFolder:
    """config.json's bytes as a `ModelFolder`; an unknown, absent or wrong field is a CheckpointError that names it."""
    try:
        return msgspec.json.decode(data, type=ModelFolder)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{CONFIG}: {error}") from error


def read_model_folder(path: Path) -> ModelFolder:
    """Read config.json of the model folder at `path`."""
    try:
        data = (path / CONFIG).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path.name} is not a model folder: {CONFIG}: {error.strerror}") from error
    return parse_model_folder(data)


def write_model_folder(path: Path, folder: ModelFolder) -> None:
    """Write config.json, indented, keys in the schema's order. What could not be read again is a CheckpointError."""
    (path / CONFIG).write_bytes(msgspec.json.format(_checked(folder), indent=2) + b"\n")


def check_model_folder(folder: ModelFolder) -> None:
    """Raise CheckpointError for values that the schema refuses; the constructor, for speed, does not look."""
    _checked(folder)


def _checked(folder: ModelFolder) -> bytes:
    said = msgspec.json.encode(folder)
    parse_model_folder(said)
    return said
