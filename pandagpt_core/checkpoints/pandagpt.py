"""PandaGPT's own fields of config.json.

adapter.safetensors holds `projection.weight` [out, in], `projection.bias` [out], where it recalls `projection.recall`
[directions, in], and LoRA pairs beside the weights that they change:
`model.layers.N.self_attn.q_proj.lora_A.weight` [r, in], `.lora_B.weight` [out, r].

With `soft_tokens`, resampler.safetensors holds the weights of `pandagpt_core.encoders.resampler.PerceiverResampler`.
"""

import hashlib
from typing import Annotated, Literal

import msgspec

from pandagpt_core.checkpoints.folder import RESAMPLER, ModelFolder
from pandagpt_core.field_bounds import Positive

MOST_SOFT_TOKENS = 256  # of a medium
PandaGPTTemplate = Literal["vicuna-v0", "chatml", "qwen2.5", "qwen3", "llama3"]


class RetrievalSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The look-up before the projection (`fusion.PrototypeRetrieval`): number of prototypes, and sharpness."""

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
    recall: RetrievalSpec | None = None


class PerceptionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Beside each medium's soft token a line of words stands in the prompt (`pandagpt_core.perception`).

    fusion: "apart" gives each medium a soft token and a line of its own, in order; "sum" is PandaGPT's, one token that
    is their sum. words: whether the lines are written at all. soft: whether a medium that has a line has its soft token
    too, when they are apart. `asked`: whether a line also states what a question by yes or no asks for, where there is
    evidence for it (`pandagpt_core.perception.evidence`).
    """

    fusion: Literal["apart", "sum"] = "apart"
    words: bool = True
    soft: bool = True
    asked: bool = False


class ResamplerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`count` soft tokens a medium in place of one, out of a tower's tokens (`encoders.resampler`).

    width, heads, layers: of each tower's resampler. towers: how wide the tokens of each tower are.
    """

    count: Annotated[int, msgspec.Meta(ge=2, le=MOST_SOFT_TOKENS)]
    width: Positive
    heads: Positive
    layers: Positive
    towers: dict[str, Positive]

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"soft_tokens: width {self.width} is no multiple of {self.heads} heads")


class LoraSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Low-rank updates W + alpha / r * B A of every layer's `targets`; `merged`: the LLM's weights hold them."""

    r: Positive
    alpha: float
    targets: tuple[str, ...]
    merged: bool = False

    @property
    def scale(self) -> float:
        return self.alpha / self.r


class BosSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token a prompt begins with, and the tokenizer file that names it (Vicuna v0 folders disagree)."""

    id: int
    piece: str
    source: str


class PandaGPTFolder(ModelFolder, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="pandagpt"):
    """`template` names an entry of `pandagpt_core.prompts.TEMPLATES`. With `perception` the folder has names and
    calibrations in perception.json, and an encoder that gives rows beside the embedding. Without `soft_tokens` a medium
    has one, as in the paper."""

    template: PandaGPTTemplate
    projection: ProjectionSpec
    lora: LoraSpec | None = None
    bos: BosSpec | None = None
    perception: PerceptionSpec | None = None
    soft_tokens: ResamplerSpec | None = None

    def __post_init__(self) -> None:
        if (self.soft_tokens is None) != (RESAMPLER not in self.files):
            raise ValueError(f"soft_tokens and {RESAMPLER} go together; the folder has one of them")
        if self.soft_tokens is not None and (beside := self.one_vector_parts):
            raise ValueError(f"soft_tokens cannot stand beside {' and '.join(beside)}, which read one vector a medium")

    @property
    def one_vector_parts(self) -> list[str]:
        """The sections of the folder that know a medium by its one vector alone."""
        parts = {"perception": self.perception, "cache": self.cache, "projection.recall": self.projection.recall}
        return [name for name, section in parts.items() if section is not None]

    @property
    def encoder_digest(self) -> str:
        return self.with_resampler(self.towers_digest)

    def with_resampler(self, digest: str) -> str:
        """A digest of towers, made one of the rows that the folder's resampler gives of them."""
        if self.soft_tokens is None:
            return digest
        named = msgspec.json.encode((digest, self.soft_tokens, self.files[RESAMPLER]), order="sorted")
        return hashlib.sha256(named).hexdigest()
