"""The sizes of an engine: sequences, cache, prompt tokens a step, context."""

from dataclasses import dataclass
from typing import Literal

Reserve = Literal["longest", "current"]
PREFIX_PART = 8  # one part in so many of the cache is for prefixes, by default


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Sizes and shares, in sequences, blocks and tokens.

    max_running: sequences that run at once. max_model_len: tokens of prompt and answer together; the model's own limit
        applies too. prefill_chunk: prompt tokens that one step reads at most, over all sequences, beside the decoding
        ones.
    kv_blocks: blocks of `block_size` tokens for running sequences; else the blocks that fit `kv_bytes`; without both,
        every one of `max_running` sequences may fill the context.
    prefix_blocks: blocks of the prefix cache, 0 for none. By default an eighth as many as `kv_blocks`, or a ninth of
        `kv_bytes`.
    reserve: the cache that a running sequence counts for, its `max_length` or its current length. With "current" more
        sequences run at once, and some may be preempted and computed again.
    batch_turn: after so many interactive admissions in a row a waiting batch sequence is admitted. batch_share: one
        part in so many of a step's prompt tokens is for batch prompts.
    speculative_tokens: drafted tokens of a sequence in a step at most, 0 for none (`speculation`).
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
    speculative_tokens: int = 0


@dataclass(frozen=True, slots=True)
class EngineSizes:
    """Sizes of a config for one model, for the scheduler's counts and the runner's memory."""

    max_running: int
    block_size: int
    kv_blocks: int
    prefill_chunk: int
    max_model_len: int
    prefix_blocks: int = 0
    reserve: Reserve = "longest"
    batch_turn: int = 8
    batch_share: int = 8
    speculative_tokens: int = 0

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
        speculative_tokens=config.speculative_tokens,
    )


def _blocks(config: EngineConfig, context: int, token_bytes: int) -> tuple[int, int]:
    """Blocks for what runs and for kept prefixes."""
    if config.kv_blocks is None and config.kv_bytes is not None:
        affordable = config.kv_bytes // (token_bytes * config.block_size)
        prefix = affordable // (PREFIX_PART + 1) if config.prefix_blocks is None else config.prefix_blocks
        return affordable - prefix, prefix
    blocks = config.kv_blocks or config.max_running * -(-context // config.block_size)
    return blocks, blocks // PREFIX_PART if config.prefix_blocks is None else config.prefix_blocks
