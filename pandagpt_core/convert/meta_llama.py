"""A LLaMA folder in Meta's layout as one in Hugging Face's: names, and the order of the heads' rotary pairs.

Meta pairs component 2i of a head with 2i + 1, Hugging Face i with i + d/2 (RoFormer, Su et al. 2021, leaves it open).
The rows of what makes queries and keys are put into the second order, so that the language model needs one rotation.
"""

import dataclasses
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from pandagpt_core.checkpoints import CONFIG, KeyMap, account, renamed
from pandagpt_core.convert.llm import FOLDER, expected_shapes
from pandagpt_core.convert.parts import Part, plan_part
from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.rope import DEFAULT_THETA, Rope
from pandagpt_core.llm.tokenizers.special_tokens import read_json

WEIGHTS, PARAMS, TOKENIZER = "consolidated.00.pth", "params.json", "tokenizer.model"
WEIGHTS_SUMMED = "consolidated.00.safetensors"  # of a base with its delta applied (`convert/delta.py`)
POSITIONS = 2048  # of the first LLaMA, which params.json leaves out
RECOMPUTED = "rope.freqs"

# Names inside of a layer, of the base and of what was trained beside it.
LAYER_NAMES: KeyMap = (
    (r"^attention\.w([qkvo])\b", r"self_attn.\1_proj"),
    (r"^attention\.gate$", "self_attn.gate"),
    (r"^feed_forward\.w1\b", "mlp.gate_proj"),
    (r"^feed_forward\.w2\b", "mlp.down_proj"),
    (r"^feed_forward\.w3\b", "mlp.up_proj"),
    (r"^attention_norm\b", "input_layernorm"),
    (r"^ffn_norm\b", "post_attention_layernorm"),
)
_TOP: KeyMap = (
    (r"^tok_embeddings\.", "model.embed_tokens."),
    (r"^norm\.", "model.norm."),
    (r"^output\.", "lm_head."),
)
_LAYER = re.compile(r"layers\.(\d+)\.(.+)")
_TURNED = re.compile(r"self_attn\.([qk])_proj\.(weight|bias|lora_B\.weight)$")


@dataclass(frozen=True, slots=True)
class MetaLlama:
    """The files of one model in Meta's layout, and its sizes."""

    weights: Path
    tokenizer: Path
    config: LlamaConfig


def find_llama(folder: Path) -> MetaLlama:
    """`folder` holds the weights, or one folder that does; the tokenizer is in either. Raises CheckpointError."""
    weights, tokenizer = find_weights(folder)
    return MetaLlama(weights, tokenizer, read_params(weights))


def find_weights(folder: Path) -> tuple[Path, Path]:
    """The weights and the tokenizer. Raises CheckpointError."""
    places = (folder, *sorted(folder.glob("*/")))
    found = [place / name for place in places for name in (WEIGHTS, WEIGHTS_SUMMED) if (place / name).is_file()]
    if len(found) != 1:
        names = ", ".join(file.parent.name for file in found) or "no folder"
        raise CheckpointError(f"{folder.name} must hold one LLaMA with {WEIGHTS}; it holds {names}")
    place = found[0].parent
    if (place / "consolidated.01.pth").exists():
        raise CheckpointError(f"{place.name} is in several parts (consolidated.01.pth); ImageBind-LLM's base is in one")
    texts = [parent / TOKENIZER for parent in (place, place.parent) if (parent / TOKENIZER).is_file()]
    if not texts or not (place / PARAMS).is_file():
        raise CheckpointError(f"{place.name} needs {PARAMS} and {TOKENIZER}, the second perhaps in the folder above")
    return found[0], texts[0]


def read_params(weights: Path) -> LlamaConfig:
    """Sizes by params.json, and by the weights' shapes what it leaves out (vocabulary, feed-forward)."""
    place = weights.parent
    params = read_json(place / PARAMS)
    if params.get("use_scaled_rope"):
        raise CheckpointError(
            f"{PARAMS} of {place.name} asks for scaled rotary positions, whose scale it does not state"
        )
    shapes = plan_part("", weights, lambda key: key).shapes()
    try:
        heads = int(params["n_heads"])
        return LlamaConfig(
            vocab=shapes["tok_embeddings.weight"][0],
            width=int(params["dim"]),
            layers=int(params["n_layers"]),
            heads=heads,
            kv_heads=int(params.get("n_kv_heads") or heads),
            head_dim=int(params["dim"]) // heads,
            ffn=shapes["layers.0.feed_forward.w1.weight"][0],
            norm_eps=float(params["norm_eps"]),
            rope=Rope(float(params.get("rope_theta", DEFAULT_THETA))),
            max_positions=int(params.get("max_seq_len") or POSITIONS),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{PARAMS} or {weights.name} of {place.name} lacks or misstates {error}") from error


def plan_llama(llama: MetaLlama) -> Part:
    """The base's weights as one file, after a strict account."""
    part = plan_part(f"{FOLDER}/model.safetensors", llama.weights, base_name)
    account(llama.weights.name, expected_shapes(llama.config), part.shapes())
    return turned(part, llama.config)


def write_texts(llama: MetaLlama, folder: Path, dtype: str) -> list[str]:
    """config.json and the tokenizer; their names below the model folder."""
    config: Mapping[str, Any] = llama.config.to_hf(dtype)
    (folder / FOLDER / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(llama.tokenizer, folder / FOLDER / TOKENIZER)
    return [f"{FOLDER}/{CONFIG}", f"{FOLDER}/{TOKENIZER}"]


def layer_name(key: str) -> str | None:
    """Hugging Face's name for `layers.N.<rest>` by Meta's, or None for a key that is of no layer."""
    found = _LAYER.fullmatch(key)
    if found is None:
        return None
    layer, rest = found.groups()
    return f"model.layers.{layer}.{renamed([rest], LAYER_NAMES)[rest]}"


def turned(part: Part, config: LlamaConfig) -> Part:
    """The part with rows in Hugging Face's order: of what makes queries and keys, and of their updates."""
    heads = {"q": config.heads, "k": config.kv_heads}
    found = {key: _TURNED.search(key) for key in part.keys}
    changes = {key: partial(halves, heads[match[1]]) for key, match in found.items() if match is not None}
    return dataclasses.replace(part, changes={**part.changes, **changes})


def halves(heads: int, rows: Tensor) -> Tensor:
    """Rows [heads * d, ...] from pairs of neighbours to the first and the second of all pairs, head by head."""
    pairs = rows.reshape(heads, -1, 2, *rows.shape[1:])  # [H, d / 2, 2, ...]
    return pairs.transpose(1, 2).reshape(rows.shape)


def base_name(key: str) -> str | None:
    if key == RECOMPUTED:
        return None
    return layer_name(key) or renamed([key], _TOP)[key]
