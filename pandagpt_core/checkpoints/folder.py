"""The model folder: the schema of its config.json.

config.json           one of the system schemas: `ModelFolder`'s fields and the system's own (`checkpoints.systems`)
encoder.safetensors   the towers, under the original's key names; `encoder.weights_of` names another folder's instead
towers.safetensors    where `weights_of` names a folder: towers that it has not, by the same names; LanguageBind's video
towers-*.safetensors  LanguageBind's towers of sound, depth and heat, a file each adapter.safetensors   the system's own
weights resampler.safetensors where a PandaGPT folder has `soft_tokens`: the network for several rows of a tower's
tokens cache.safetensors     where `cache` is set: `vectors` [N, E], features of pictures (`pandagpt_core.visual_cache`)
ngrams.safetensors    drafts of answers, where there are any (`pandagpt_core.engine.speculation.ngram_table`)
llm/                  a Hugging Face LLaMA folder, unless `llm` names a file of an installed package
"""

import hashlib
from typing import Annotated, Any, Literal

import msgspec

from pandagpt_core.field_bounds import Positive
from pandagpt_core.types import Modality, ToolSupport

CONFIG = "config.json"
ENCODER = "encoder.safetensors"
TOWERS = "towers.safetensors"
ADAPTER = "adapter.safetensors"
CACHE = "cache.safetensors"
RESAMPLER = "resampler.safetensors"
NGRAMS = "ngrams.safetensors"

Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
FolderName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


def further_towers(modality: Modality) -> str:
    """The file of one tower by itself."""
    return f"towers-{modality}.safetensors"


class EncoderSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The towers. `sizes` is the kind's own table; the kind's class checks it (ImageBind: `encoders/sizes.py`).

    variant "pandagpt" scales no audio embedding (PandaGPT's fork), "imagebind" scales as the original does.
    weights_of: the model folder beside this one whose encoder.safetensors it is; `files` holds its digest all the same.
    """

    kind: Literal["imagebind", "languagebind", "embedding-gemma2", "mini", "eva-vit", "grid"]
    variant: Literal["imagebind", "pandagpt"] = "pandagpt"
    sizes: dict[str, Any] = {}
    weights_of: FolderName | None = None


class LLMSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Place of the language model: a `folder` beside config.json, or a `file` of an installed Python `package`."""

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


class CacheSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cache of image features with `rows` rows, and the defaults of a request.

    size: rows retrieved. temperature: multiplies similarities. weight: the share of what was retrieved.
    """

    rows: Positive
    size: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 10
    temperature: Annotated[float, msgspec.Meta(ge=0, le=1000)] = 20.0
    weight: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5


class ModelFolder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="system"):
    """The fields of config.json that every system has. A subclass adds its system's own, under the system's tag.

    `files` holds the SHA-256 of every other file, by its path inside the folder. `tools`: whether the model calls
    functions by itself; null where that follows from its template. `dimensions` are the widths to which
    its embeddings may be cut, where they were trained for that.
    """

    format: Literal[1] = 1
    id: Annotated[str, msgspec.Meta(min_length=1)]
    encoder: EncoderSpec
    llm: LLMSpec
    recipes: dict[Modality, str]
    files: dict[str, Digest]
    cache: CacheSpec | None = None
    sampling_defaults: dict[str, float] = {}
    max_model_len: Positive
    tools: ToolSupport | None = None
    dimensions: list[Positive] = []
    created: int = 0
    version: str = "1"
    provenance: dict[str, Any] = {}

    @property
    def system(self) -> str:
        """The tag of the system, a key of `pandagpt_core.systems.SYSTEMS`."""
        return str(self.__struct_config__.tag)

    @property
    def tower_files(self) -> list[str]:
        """Files of towers beside `encoder.safetensors`."""
        return [*filter(self.files.__contains__, (TOWERS, *map(further_towers, Modality)))]

    @property
    def encoder_digest(self) -> str:
        """Names all that decides the rows of a medium: equal digests give equal rows for equal bytes."""
        return self.towers_digest

    @property
    def towers_digest(self) -> str:
        """Names encoder, its weights and its preprocessing: equal digests give equal embeddings for equal bytes."""
        spec = self.encoder  # without the place of its weights, whose digest is named
        towers = {"kind": spec.kind, "variant": spec.variant, "sizes": spec.sizes}
        own = [self.files[name] for name in self.tower_files]
        named = msgspec.json.encode((towers, self.files.get(ENCODER, ""), self.recipes, *own), order="sorted")
        return hashlib.sha256(named).hexdigest()
