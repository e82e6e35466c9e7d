"""LLaMA weights from a GGUF file, dequantised to float32.

The `gguf` package parses the file once; going through transformers parses it three times and takes 30 s for 100 MB.
"""

from pathlib import Path

import numpy as np
import torch
from gguf import GGUFReader, ReaderTensor, dequantize
from torch import Tensor

from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.tokenizers.gguf import field

ARCHITECTURE = "llama"

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
    reader = GGUFReader(path)
    found = field(reader, "general.architecture")
    if found != ARCHITECTURE:
        raise CheckpointError(f"the GGUF file's architecture must be {ARCHITECTURE!r}, it is {found!r}")
    config = _config(reader)
    return config, {_name(tensor.name): _weight(tensor, config) for tensor in reader.tensors}


def _config(reader: GGUFReader) -> LlamaConfig:
    heads, width = field(reader, "llama.attention.head_count"), field(reader, "llama.embedding_length")
    return LlamaConfig(
        vocab=next(int(tensor.shape[1]) for tensor in reader.tensors if tensor.name == "token_embd.weight"),
        width=width,
        layers=field(reader, "llama.block_count"),
        heads=heads,
        kv_heads=field(reader, "llama.attention.head_count_kv", heads),
        head_dim=field(reader, "llama.rope.dimension_count", width // heads),
        ffn=field(reader, "llama.feed_forward_length"),
        norm_eps=field(reader, "llama.attention.layer_norm_rms_epsilon"),
        rope_theta=field(reader, "llama.rope.freq_base", 10_000.0),
        max_positions=field(reader, "llama.context_length"),
        tied=all(tensor.name != "output.weight" for tensor in reader.tensors),
    )


def _name(name: str) -> str:
    """The Hugging Face name; a name that is not in the tables stays, for the strict account to refuse."""
    if name in TOP_NAMES:
        return TOP_NAMES[name]
    block, _, rest = name.removeprefix("blk.").partition(".")
    part = rest.removesuffix(".weight")
    return f"model.layers.{block}.{LAYER_NAMES[part]}.weight" if part in LAYER_NAMES else name


def _weight(tensor: ReaderTensor, config: LlamaConfig) -> Tensor:
    weight = torch.from_numpy(np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32))
    if tensor.name.endswith("attn_q.weight"):
        return _half_split(weight, config.heads)
    if tensor.name.endswith("attn_k.weight"):
        return _half_split(weight, config.kv_heads)
    return weight


def _half_split(weight: Tensor, heads: int) -> Tensor:
    """GGUF stores the pairs of the rotary rotation side by side; put each head's first halves before its second."""
    rows, width = weight.shape
    return weight.view(heads, rows // heads // 2, 2, width).transpose(1, 2).reshape(rows, width)
