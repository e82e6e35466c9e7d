"""LLaMA weights and byte-pair tokenizers from a GGUF file, dequantised to float32.

The `gguf` package parses the file once; going through transformers parses it three times and takes 30 s for 100 MB.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFReader, ReaderTensor, dequantize
from tokenizers import AddedToken, models, pre_tokenizers
from tokenizers import Tokenizer as Backend
from torch import Tensor

from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.tokenizers.bpe import BPETokenizer

ARCHITECTURE = "llama"
CONTROL_TOKEN = 3  # of tokenizer.ggml.token_type

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
# How each vocabulary splits text before merging: its name in the file to the splitters.
SPLITTERS: dict[str, list[pre_tokenizers.PreTokenizer]] = {
    "smollm": [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "gpt-2": [pre_tokenizers.ByteLevel(add_prefix_space=False)],
}


def read_weights(path: Path) -> tuple[LlamaConfig, dict[str, Tensor]]:
    """Sizes and float32 weights under their Hugging Face names. Raises CheckpointError on another architecture."""
    reader = GGUFReader(path)
    found = _field(reader, "general.architecture")
    if found != ARCHITECTURE:
        raise CheckpointError(f"the GGUF file's architecture must be {ARCHITECTURE!r}, it is {found!r}")
    config = _config(reader)
    return config, {_name(tensor.name): _weight(tensor, config) for tensor in reader.tensors}


def read_tokenizer(path: Path) -> BPETokenizer:
    """The byte-pair tokenizer in the file's metadata. Raises CheckpointError for other kinds."""
    reader = GGUFReader(path)
    kind, splitter = _field(reader, "tokenizer.ggml.model"), _field(reader, "tokenizer.ggml.pre", "gpt-2")
    if kind != "gpt2" or splitter not in SPLITTERS:
        raise CheckpointError(f"the GGUF file's tokenizer is {kind!r} split as {splitter!r}, which is not supported")
    tokens: list[str] = _field(reader, "tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ", 1)) for merge in _field(reader, "tokenizer.ggml.merges")]
    backend = Backend(models.BPE(vocab={token: n for n, token in enumerate(tokens)}, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.Sequence(SPLITTERS[splitter])
    types: list[int] = _field(reader, "tokenizer.ggml.token_type")
    control = [index for index, kind in enumerate(types) if kind == CONTROL_TOKEN]
    backend.add_special_tokens([AddedToken(tokens[index], special=True) for index in control])
    bos_id = _field(reader, "tokenizer.ggml.bos_token_id", None)
    eos_id = _field(reader, "tokenizer.ggml.eos_token_id", None)
    return BPETokenizer(backend, control, bos_id, frozenset() if eos_id is None else frozenset({eos_id}))


def _config(reader: GGUFReader) -> LlamaConfig:
    heads, width = _field(reader, "llama.attention.head_count"), _field(reader, "llama.embedding_length")
    return LlamaConfig(
        vocab=next(int(tensor.shape[1]) for tensor in reader.tensors if tensor.name == "token_embd.weight"),
        width=width,
        layers=_field(reader, "llama.block_count"),
        heads=heads,
        kv_heads=_field(reader, "llama.attention.head_count_kv", heads),
        head_dim=_field(reader, "llama.rope.dimension_count", width // heads),
        ffn=_field(reader, "llama.feed_forward_length"),
        norm_eps=_field(reader, "llama.attention.layer_norm_rms_epsilon"),
        rope_theta=_field(reader, "llama.rope.freq_base", 10_000.0),
        max_positions=_field(reader, "llama.context_length"),
        tied=all(tensor.name != "output.weight" for tensor in reader.tensors),
    )


_REQUIRED = object()


def _field(reader: GGUFReader, name: str, default: Any = _REQUIRED) -> Any:
    field = reader.get_field(name)
    if field is not None:
        return field.contents()
    if default is _REQUIRED:
        raise CheckpointError(f"the GGUF file's metadata has no {name!r}")
    return default


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
