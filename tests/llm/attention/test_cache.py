"""Blocks copied out of slots and into others."""

import torch

from pandagpt_core.llm.attention.cache import BlockStore, CacheShape, SlotCache
from pandagpt_core.llm.config import LlamaConfig

CPU = torch.device("cpu")


def test_blocks_come_back_in_order_and_touch_nothing_else(tiny_config: LlamaConfig) -> None:
    cache = SlotCache(tiny_config, CacheShape(slots=3, length=16), CPU)
    store = BlockStore(cache, places=5, block_size=4)
    cache.keys[:, 0], cache.values[:, 0] = torch.randn(2, 2, 16, 8), torch.randn(2, 2, 16, 8)
    store.save(0, 0, [3])
    store.save(0, 1, [4, 1])
    store.load(2, [3, 4, 1])
    for tensor in (cache.keys, cache.values):
        assert torch.equal(tensor[:, 2, :, :12], tensor[:, 0, :, :12])
        assert not tensor[:, 2, :, 12:].any()
        assert not tensor[:, 1].any()


def test_a_store_without_places_takes_no_memory(tiny_config: LlamaConfig) -> None:
    cache = SlotCache(tiny_config, CacheShape(slots=1, length=4), CPU)
    assert BlockStore(cache, places=0, block_size=4).keys.nbytes == 0
