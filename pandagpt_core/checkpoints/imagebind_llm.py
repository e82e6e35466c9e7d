"""ImageBind-LLM's own fields of config.json.

adapter.safetensors holds, by Hugging Face's names where the language model has them:
`bind.proj.weight` [D, E], `bind.proj.bias`, `bind.blocks.N.{norm,gate_proj,up_proj,down_proj}.weight`;
`prefix_query.weight` [Q, D] of the last Q layers, and a `model.layers.N.self_attn.gate` [heads] for each of those;
biases and norms of the language model, which are put in place of the base's: `model.layers.N.self_attn.q_proj.bias`,
`.o_proj.bias`, `mlp.{gate,up,down}_proj.bias`, `.input_layernorm.weight`, `.post_attention_layernorm.weight`,
`model.norm.weight`; and LoRA pairs beside the weights that they change.

The language model's files are the base's own: the value of the adapter is projected by the base's matrix, without LoRA.
"""

from typing import Literal

import msgspec

from pandagpt_core.checkpoints.account import Shape
from pandagpt_core.checkpoints.folder import ModelFolder
from pandagpt_core.checkpoints.pandagpt import BosSpec, LoraSpec
from pandagpt_core.field_bounds import Positive
from pandagpt_core.llm.config import LlamaConfig

BIND_BLOCKS = 3
GATE = ".self_attn.gate"
# Linear layers of the language model that have a bias, as the original trained them (LLaMA-Adapter V2's bias tuning).
BIASED = ("self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class BindSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """features: width of the shared space. hidden: of the bind network's blocks. layers: the last ones read it."""

    features: Positive
    hidden: Positive
    layers: Positive


class ImageBindLLMFolder(ModelFolder, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="imagebind-llm"):
    """`biases`: whether the adapter has the language model's biases and norms. `template`: see `prompts`."""

    template: Literal["alpaca", "chatml"]
    bind: BindSpec
    lora: LoraSpec | None = None
    biases: bool = True
    bos: BosSpec | None = None


def bind_shapes(bind: BindSpec, llm: LlamaConfig) -> dict[str, Shape]:
    """Shapes of the bind network, the prefix queries and the gates, which the first phase of training learns."""
    shapes: dict[str, Shape] = {
        "bind.proj.weight": (llm.width, bind.features),
        "bind.proj.bias": (llm.width,),
        "prefix_query.weight": (bind.layers, llm.width),
    }
    for block in range(BIND_BLOCKS):
        at = f"bind.blocks.{block}"
        shapes[f"{at}.norm.weight"] = (llm.width,)
        shapes[f"{at}.gate_proj.weight"] = shapes[f"{at}.up_proj.weight"] = (bind.hidden, llm.width)
        shapes[f"{at}.down_proj.weight"] = (llm.width, bind.hidden)
    for layer in range(llm.layers - bind.layers, llm.layers):
        shapes[gate_name(layer)] = (llm.heads,)
    return shapes


def tuned_shapes(llm: LlamaConfig) -> dict[str, Shape]:
    """Biases and norms of the language model."""
    widths = {"gate_proj": llm.ffn, "up_proj": llm.ffn, "q_proj": llm.heads * llm.head_dim}
    shapes: dict[str, Shape] = {"model.norm.weight": (llm.width,)}
    for layer in range(llm.layers):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"model.layers.{layer}.{norm}.weight"] = (llm.width,)
        for linear in BIASED:
            shapes[f"model.layers.{layer}.{linear}.bias"] = (widths.get(linear.rpartition(".")[2], llm.width),)
    return shapes


def gate_name(layer: int) -> str:
    return f"model.layers.{layer}{GATE}"
