"""How large an engine is: sequences at once, cache, prefill per step, context."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """`kv_blocks` of `block_size` tokens, or the blocks that fit `kv_bytes`, bound what running sequences reserve;
    with neither, every one of `max_running` sequences may fill the context. `prefill_chunk` is how many prompt
    tokens one step reads at most, over all sequences, beside the decoding ones. `max_model_len` is the context: prompt
    and answer together; the model's own limit applies too.
    """

    max_running: int = 16
    block_size: int = 16
    kv_blocks: int | None = None
    kv_bytes: int | None = None
    prefill_chunk: int = 256
    max_model_len: int = 2048


@dataclass(frozen=True, slots=True)
class EngineSizes:
    """A config resolved against a model: what the scheduler counts and the runner allocates."""

    max_running: int
    block_size: int
    kv_blocks: int
    prefill_chunk: int
    max_model_len: int

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_size)


def resolve(config: EngineConfig, max_positions: int, token_bytes: int) -> EngineSizes:
    """Fill in what the config leaves open. A cache smaller than the context shortens the context."""
    assert min(config.max_running, config.block_size, config.prefill_chunk, config.max_model_len) > 0
    context = min(config.max_model_len, max_positions)
    blocks = config.kv_blocks
    if blocks is None and config.kv_bytes is not None:
        blocks = config.kv_bytes // (token_bytes * config.block_size)
    if blocks is None:
        blocks = config.max_running * -(-context // config.block_size)
    context = min(context, blocks * config.block_size)
    if context < 2:
        raise ValueError(f"a cache of {blocks} blocks of {config.block_size} tokens holds no prompt and answer")
    return EngineSizes(config.max_running, config.block_size, blocks, config.prefill_chunk, context)
