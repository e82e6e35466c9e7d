"""Bytes and operations of a model's work, from its sizes alone, for rooflines."""

import math

from pandagpt_core.encoders.sizes import PATCH_TOWERS, TowerSize
from pandagpt_core.encoders.transformer import MLP_RATIO
from pandagpt_core.llm.config import LlamaConfig

WEIGHT_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1, "fp8": 1}
HEAD_BYTES = {**WEIGHT_BYTES, "fp8": 2}  # beside fp8 products the head stays bf16
CACHE_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 2, "fp8": 2}  # beside 8-bit products the cache is bf16


def product_weights(config: LlamaConfig) -> int:
    """Weights that every decode step reads: all matrices and the head; of the embedding table only rows."""
    attention = config.width * config.head_dim * 2 * (config.heads + config.kv_heads)
    return config.layers * (attention + 3 * config.width * config.ffn) + config.width * config.vocab


def weight_bytes(config: LlamaConfig, precision: str) -> int:
    head = config.width * config.vocab
    return (product_weights(config) - head) * WEIGHT_BYTES[precision] + head * HEAD_BYTES[precision]


def step_bytes(config: LlamaConfig, precision: str, width: int, context: float) -> float:
    """Bytes a decode step of `width` sequences with `context` tokens each must read: weights once, caches once."""
    token = 2 * config.layers * config.kv_heads * config.head_dim * CACHE_BYTES[precision]
    return weight_bytes(config, precision) + width * context * token


def tower_operations(size: TowerSize, tower: str) -> int:
    """Multiplications and additions of matrix products for one clip through a tower of patches."""
    shape = PATCH_TOWERS[tower]
    tokens, width = 1 + math.prod(shape.grid), size.width
    stem = 2 * (tokens - 1) * math.prod(shape.patch) * width
    block = 2 * tokens * (4 + 2 * MLP_RATIO) * width**2 + 4 * tokens**2 * width
    return stem + size.blocks * block
