"""LLaMA or Qwen2 weights from a GGUF file, dequantised to float32.

The `gguf` package parses the file once; going through transformers parses it three times and takes 30 s for 100 MB.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch
from gguf import GGUFReader, ReaderTensor, dequantize
from torch import Tensor

from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.config import MODEL_TYPES, LlamaConfig
from pandagpt_core.llm.rope import DEFAULT_THETA, Rope
from pandagpt_core.llm.tokenizers.gguf import field
from pandagpt_core.llm.tokenizers.gguf_reader import PlainReader


@dataclass(frozen=True, slots=True)
class Architecture:
    """Form of an architecture's files. `biases`: the linear layers that add one.

    interleaved: the file holds the pairs of the rotary rotation as neighbours; ours are half a head apart.
    """

    biases: tuple[str, ...]
    interleaved: bool


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "llama": Architecture(MODEL_TYPES["llama"].biases, interleaved=True),
        "qwen2": Architecture(MODEL_TYPES["qwen2"].biases, interleaved=False),
    }
)

LONG_ROWS = 256  # for reading a tensor: more take longer, fewer more memory

TOP_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def read_weights(path: Path) -> tuple[LlamaConfig, dict[str, Tensor]]:
    """Sizes and float32 weights under their Hugging Face names. Raises CheckpointError on another architecture."""
    reader = PlainReader(path)
    name = field(reader, "general.architecture")
    if name not in ARCHITECTURES:
        known = " or ".join(map(repr, ARCHITECTURES))
        raise CheckpointError(f"the GGUF file's architecture must be {known}, it is {name!r}")
    found = ARCHITECTURES[name]
    config = _config(reader, name, found)
    return config, {_name(tensor.name): _weight(tensor, config, found) for tensor in reader.tensors}


def read_embeddings(path: Path, ids: Sequence[int]) -> Tensor:
    """[n, D] float32: the embedding table's rows of these token ids, without reading the others."""
    table = next(tensor for tensor in PlainReader(path).tensors if tensor.name == "token_embd.weight")
    return torch.from_numpy(np.array(dequantize(table.data[list(ids)], table.tensor_type), dtype=np.float32))


def _config(reader: GGUFReader, name: str, found: Architecture) -> LlamaConfig:
    heads, width = field(reader, f"{name}.attention.head_count"), field(reader, f"{name}.embedding_length")
    scaling = field(reader, f"{name}.rope.scaling.type", "none")
    if scaling != "none":
        raise CheckpointError(f"the GGUF file's rotary scaling {scaling!r} is not supported, only 'none'")
    return LlamaConfig(
        vocab=next(int(tensor.shape[1]) for tensor in reader.tensors if tensor.name == "token_embd.weight"),
        width=width,
        layers=field(reader, f"{name}.block_count"),
        heads=heads,
        kv_heads=field(reader, f"{name}.attention.head_count_kv", heads),
        head_dim=field(reader, f"{name}.rope.dimension_count", width // heads),
        ffn=field(reader, f"{name}.feed_forward_length"),
        norm_eps=field(reader, f"{name}.attention.layer_norm_rms_epsilon"),
        rope=Rope(field(reader, f"{name}.rope.freq_base", DEFAULT_THETA)),
        max_positions=field(reader, f"{name}.context_length"),
        tied=all(tensor.name != "output.weight" for tensor in reader.tensors),
        biases=frozenset(found.biases),
    )


def _name(name: str) -> str:
    """The Hugging Face name; a name that is not in the tables stays, for the strict account to refuse."""
    if name in TOP_NAMES:
        return TOP_NAMES[name]
    block, _, rest = name.removeprefix("blk.").partition(".")
    part, _, kind = rest.rpartition(".")
    known = part in LAYER_NAMES and kind in ("weight", "bias")
    return f"model.layers.{block}.{LAYER_NAMES[part]}.{kind}" if known else name


def _weight(tensor: ReaderTensor, config: LlamaConfig, found: Architecture) -> Tensor:
    weight = torch.from_numpy(np.array(dequantised(tensor), dtype=np.float32))
    heads = {"attn_q": config.heads, "attn_k": config.kv_heads}.get(tensor.name.split(".")[-2])
    return _half_split(weight, heads) if found.interleaved and heads else weight


def dequantised(tensor: ReaderTensor) -> npt.NDArray[np.float32]:
    """As the package's, which goes through 16 rows at a time: in fewer and longer rows of the same blocks."""
    data = tensor.data
    if data.ndim != 2 or data.dtype != np.uint8:  # numbers that are not in blocks
        return dequantize(data, tensor.tensor_type)
    found = dequantize(data.reshape(math.gcd(len(data), LONG_ROWS), -1), tensor.tensor_type)
    return found.reshape(len(data), -1)


def _half_split(weight: Tensor, heads: int) -> Tensor:
    """[rows, ...]: of each head, put the first halves of all rotary pairs before their second."""
    rows = len(weight)
    return weight.view(heads, rows // heads // 2, 2, -1).transpose(1, 2).reshape(weight.shape)
