"""Attention over the slot cache against plain causal attention."""

import pytest
import torch
from torch import Tensor

from pandagpt_core.llm.attention import slots
from pandagpt_core.llm.attention.base import CausalAttention, grouped_attention
from pandagpt_core.llm.attention.cache import CacheShape, SlotCache, token_bytes
from pandagpt_core.llm.attention.slots import SlotAttention, SlotChunk
from pandagpt_core.llm.config import LlamaConfig

CPU = torch.device("cpu")
LENGTH = 24


@pytest.fixture
def cache(tiny_config: LlamaConfig) -> SlotCache:
    return SlotCache(tiny_config, CacheShape(slots=4, length=LENGTH), CPU)


@pytest.fixture
def qkv() -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of four whole sequences."""
    torch.manual_seed(1)
    return torch.randn(4, LENGTH, 4, 8), torch.randn(4, LENGTH, 2, 8), torch.randn(4, LENGTH, 2, 8)


def attend(cache: SlotCache, qkv: tuple[Tensor, Tensor, Tensor], *stretches: tuple[int, int, int]) -> Tensor:
    """Feed (slot, start, count) stretches, slot n holding sequence n, to layer 1."""
    rows = [torch.cat([part[slot, start : start + count] for slot, start, count in stretches]) for part in qkv]
    return SlotAttention(cache, [SlotChunk(*stretch) for stretch in stretches])(1, *rows)


def test_mixed_steps_attend_as_whole_sequences(cache: SlotCache, qkv: tuple[Tensor, Tensor, Tensor]) -> None:
    whole = CausalAttention()(0, *qkv)
    attend(cache, qkv, (0, 0, 5), (1, 0, 9), (3, 0, 2))
    mixed = attend(cache, qkv, (0, 5, 1), (3, 2, 1), (1, 9, 4), (2, 0, 7))
    expected = torch.cat([whole[0, 5:6], whole[3, 2:3], whole[1, 9:13], whole[2, :7]])
    assert torch.allclose(mixed, expected, atol=1e-6)
    singles = attend(cache, qkv, (0, 6, 1), (1, 13, 1), (2, 7, 1), (3, 3, 1))
    assert torch.allclose(singles, torch.stack([whole[0, 6], whole[1, 13], whole[2, 7], whole[3, 3]]), atol=1e-6)


def test_layers_do_not_share_keys(cache: SlotCache, qkv: tuple[Tensor, Tensor, Tensor]) -> None:
    attend(cache, qkv, (0, 0, 3))
    assert not cache.keys[0].any()
    assert cache.keys[1, 0, :, :3].all()
    assert not cache.keys[1, 0, :, 3:].any()


def test_a_moved_sequence_goes_on_where_it_stands(cache: SlotCache, qkv: tuple[Tensor, Tensor, Tensor]) -> None:
    whole = CausalAttention()(0, *qkv)
    attend(cache, qkv, (2, 0, 6))
    cache.move(source=2, target=0, length=6)
    rows = [part[2, 6:7] for part in qkv]
    assert torch.allclose(SlotAttention(cache, [SlotChunk(0, 6, 1)])(1, *rows), whole[2, 6:7], atol=1e-6)


def test_wiped_values_no_longer_spoil_a_shorter_neighbour(cache: SlotCache, qkv: tuple[Tensor, Tensor, Tensor]) -> None:
    clean = attend(cache, qkv, (0, 0, 1), (1, 0, 1))
    cache.values[:, 1, :, :9] = float("nan")
    cache.wipe(1, 9)
    cache.values[1, 0, :, 9:] = 1.0  # stale but finite
    attend(cache, qkv, (0, 1, 12))
    again = attend(cache, qkv, (0, 13, 1), (1, 0, 1))
    assert torch.allclose(again[1], clean[1], atol=1e-6)


def test_the_bytes_of_a_token_are_those_of_the_tensors(cache: SlotCache, tiny_config: LlamaConfig) -> None:
    held = cache.keys.nbytes + cache.values.nbytes
    assert held == token_bytes(tiny_config, torch.float32) * 4 * LENGTH


def test_heads_of_a_group_may_lie_apart_in_what_a_kernel_gives(
    tiny_config: LlamaConfig, qkv: tuple[Tensor, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA's kernels lay [B, KV, G, d] out as [B, G, KV, d]."""
    alike = [SlotCache(tiny_config, CacheShape(4, LENGTH, torch.bfloat16), CPU) for _ in range(2)]
    steps: list[list[tuple[int, int, int]]] = [[(0, 0, 5), (1, 0, 9)], [(0, 5, 1), (1, 9, 1)], [(0, 6, 1), (1, 10, 3)]]
    expected = [attend(alike[0], qkv, *step) for step in steps]

    def laid_apart(*given: Tensor) -> Tensor:
        return grouped_attention(*given).transpose(1, 2).contiguous().transpose(1, 2)

    monkeypatch.setattr(slots, "grouped_attention", laid_apart)
    for step, same in zip(steps, expected, strict=True):
        assert torch.equal(attend(alike[1], qkv, *step), same)


def test_a_cache_may_be_of_half_precision(tiny_config: LlamaConfig, qkv: tuple[Tensor, Tensor, Tensor]) -> None:
    halved = SlotCache(tiny_config, CacheShape(4, LENGTH, torch.bfloat16), CPU)
    whole = CausalAttention()(0, *qkv)
    attended = attend(halved, qkv, (0, 0, 20))
    assert attended.dtype == torch.float32
    assert torch.allclose(attended, whole[0, :20], atol=0.05)
