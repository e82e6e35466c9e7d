"""How large an engine is: sequences at once, cache, prefill per step, context."""

from dataclasses import dataclass
from typing import Literal

Reserve = Literal["longest", "current"]
PREFIX_PART = 8  # one part in so many of the cache is for kept prefixes, where nothing else is said


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """`kv_blocks` of `block_size` tokens, or the blocks that fit `kv_bytes`, bound what running sequences hold;
    with neither, every one of `max_running` sequences may fill the context. `prefix_blocks` more keep prefixes (0:
    none; unset: an eighth as many, taken out of `kv_bytes` where that is what was given). `reserve` says what a
    running sequence counts for: the longest it may become, or what it holds currently; then more run at once, and
    some may be put out and read again. `prefill_chunk` is how many prompt tokens one step reads at most, over all
    sequences, beside the decoding ones. `max_model_len` is the context: prompt and answer together; the model's own
    limit applies too. After `batch_turn` interactive admissions in a row a waiting batch sequence has its turn, and one
    part in `batch_share` of a step's reading is for batch prompts.
    """

    max_running: int = 16
    block_size: int = 16
    kv_blocks: int | None = None
    kv_bytes: int | None = None
    prefix_blocks: int | None = None
    reserve: Reserve = "longest"
    prefill_chunk: int = 256
    max_model_len: int = 2048
    batch_turn: int = 8
    batch_share: int = 8


@dataclass(frozen=True, slots=True)
class EngineSizes:
    """A config resolved against a model: what the scheduler counts and the runner allocates."""

    max_running: int
    block_size: int
    kv_blocks: int
    prefill_chunk: int
    max_model_len: int
    prefix_blocks: int = 0
    reserve: Reserve = "longest"
    batch_turn: int = 8
    batch_share: int = 8

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_size)


def resolve(config: EngineConfig, max_positions: int, token_bytes: int) -> EngineSizes:
    """Fill in what the config leaves open. A cache smaller than the context shortens the context."""
    assert min(config.max_running, config.block_size, config.prefill_chunk, config.max_model_len) > 0
    context = min(config.max_model_len, max_positions)
    blocks, prefix = _blocks(config, context, token_bytes)
    context = min(context, blocks * config.block_size)
    if context < 2:
        raise ValueError(f"a cache of {blocks} blocks of {config.block_size} tokens holds no prompt and answer")
    return EngineSizes(
        max_running=config.max_running,
        block_size=config.block_size,
        kv_blocks=blocks,
        prefill_chunk=config.prefill_chunk,
        max_model_len=context,
        prefix_blocks=prefix,
        reserve=config.reserve,
        batch_turn=config.batch_turn,
        batch_share=config.batch_share,
    )


def _blocks(config: EngineConfig, context: int, token_bytes: int) -> tuple[int, int]:
    """Blocks for what runs and for kept prefixes."""
    if config.kv_blocks is None and config.kv_bytes is not None:
        affordable = config.kv_bytes // (token_bytes * config.block_size)
        prefix = affordable // (PREFIX_PART + 1) if config.prefix_blocks is None else config.prefix_blocks
        return affordable - prefix, prefix
    blocks = config.kv_blocks or config.max_running * -(-context // config.block_size)
    return blocks, blocks // PREFIX_PART if config.prefix_blocks is None else config.prefix_blocks
