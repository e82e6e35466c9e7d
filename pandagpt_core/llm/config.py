"""The sizes of a LLaMA, read from a Hugging Face config.json and written as one."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.rope import Rope

# The linear layers that have biases, by the flags of a Hugging Face config and by its model_type.
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class ModelType:
    """Properties of a `model_type` of Hugging Face beside its sizes.

    biases: the linear layers that always add one. head_norms: see `LlamaConfig`. head_dim: of a config that gives none,
    0 where it is the width by the heads.
    """

    biases: tuple[str, ...] = ()
    head_norms: bool = False
    head_dim: int = 0


MODEL_TYPES: Mapping[str, ModelType] = MappingProxyType(
    {
        "llama": ModelType(),
        "qwen2": ModelType(biases=("q_proj", "k_proj", "v_proj")),
        "qwen3": ModelType(head_norms=True, head_dim=128),
    }
)


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    """`kv_heads` divides `heads` (grouped-query attention, Ainslie et al. 2023); `tied` shares table and head.

    `biases` are the linear layers that add one, by their last names: none in LLaMA, q, k and v in Qwen2, all but k and
    v in LLaMA-Adapter V2. `head_norms`: an RMS norm over each head's query and key, before they turn (Qwen3).
    """

    vocab: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    norm_eps: float = 1e-6
    rope: Rope = field(default_factory=Rope)
    max_positions: int = 2048
    tied: bool = False
    biases: frozenset[str] = frozenset()
    head_norms: bool = False

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise CheckpointError(f"{self.heads} attention heads do not group over {self.kv_heads} key-value heads")
        if self.head_dim % 2:
            raise CheckpointError(f"the head width must be even for rotary positions, it is {self.head_dim}")
        if unknown := sorted(self.biases - {*ATTENTION, *FEED_FORWARD}):
            raise CheckpointError(f"no linear layer of a decoder layer is called {', '.join(unknown)}")

    @property
    def groups(self) -> int:
        """Query heads that share one key-value head."""
        return self.heads // self.kv_heads

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> "LlamaConfig":
        """From a config.json of `LlamaForCausalLM`, of any age, `Qwen2ForCausalLM` or `Qwen3ForCausalLM`.

        Raises CheckpointError for any other architecture.
        """
        refuse_other_architectures(config)
        kind = MODEL_TYPES[config.get("model_type", "llama")]
        try:
            return cls(
                vocab=config["vocab_size"],
                width=config["hidden_size"],
                layers=config["num_hidden_layers"],
                heads=config["num_attention_heads"],
                kv_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
                head_dim=config.get("head_dim")
                or kind.head_dim
                or config["hidden_size"] // config["num_attention_heads"],
                ffn=config["intermediate_size"],
                norm_eps=config["rms_norm_eps"],
                rope=Rope.from_hf(config),
                max_positions=config.get("max_position_embeddings", 2048),
                tied=config.get("tie_word_embeddings", False),
                biases=flagged_biases(config).union(kind.biases),
                head_norms=kind.head_norms,
            )
        except KeyError as error:
            raise CheckpointError(f"the language model's config.json has no {error.args[0]!r}") from None

    def to_hf(self, dtype: str) -> dict[str, Any]:
        """A config.json that `from_hf` reads, with the fields by which other programs recognise a LLaMA or a Qwen3.

        dtype: of its weights, by torch's name. The format has a flag for all of attention's biases and one for the
        feed-forward's: weights that are written beside it have zeros for the biases that are not in `biases`
        (`all_biases`).
        """
        architecture, model_type = ("Qwen3ForCausalLM", "qwen3") if self.head_norms else ("LlamaForCausalLM", "llama")
        scaling = {} if self.rope.scaling is None else {"rope_scaling": self.rope.scaling.to_hf()}
        return {
            "architectures": [architecture],
            "model_type": model_type,
            "torch_dtype": dtype,
            "hidden_act": "silu",
            "attention_bias": not self.biases.isdisjoint(ATTENTION),
            "mlp_bias": not self.biases.isdisjoint(FEED_FORWARD),
            "vocab_size": self.vocab,
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "intermediate_size": self.ffn,
            "rms_norm_eps": self.norm_eps,
            "rope_theta": self.rope.theta,
            **scaling,
            "max_position_embeddings": self.max_positions,
            "tie_word_embeddings": self.tied,
        }


def refuse_other_architectures(config: Mapping[str, Any]) -> None:
    """A config with something that this model does not compute must not load and answer nonsense."""
    wants = {"model_type": (*MODEL_TYPES,), "hidden_act": ("silu",), "use_sliding_window": (False,)}
    for key, values in wants.items():
        if config.get(key, values[0]) not in values:
            raise CheckpointError(
                f"the language model's {key} must be {' or '.join(map(repr, values))}, it is {config[key]!r}"
            )
    if others := sorted(set(config.get("layer_types") or ()) - {"full_attention"}):
        raise CheckpointError(f"the language model's layer_types must be 'full_attention', some are {others[0]!r}")


def flagged_biases(config: Mapping[str, Any]) -> frozenset[str]:
    flags = {"attention_bias": ATTENTION, "mlp_bias": FEED_FORWARD}
    return frozenset(name for flag, names in flags.items() if config.get(flag, False) for name in names)


def all_biases(config: LlamaConfig) -> LlamaConfig:
    """The config that `to_hf` describes: with one bias of attention or of the feed-forward, all of them."""
    groups = [group for group in (ATTENTION, FEED_FORWARD) if not config.biases.isdisjoint(group)]
    return replace(config, biases=frozenset(name for group in groups for name in group))
