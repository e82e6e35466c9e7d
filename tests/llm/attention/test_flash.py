"""Attention by a kernel for sequences of unlike lengths, with a plain one in place of torch's, which needs a GPU."""

import inspect
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pandagpt_core.llm.attention import flash
from pandagpt_core.llm.attention.base import CausalAttention
from pandagpt_core.llm.attention.cache import CacheShape, SlotCache
from pandagpt_core.llm.attention.flash import FlashAttention, Packing, agrees, fitting
from pandagpt_core.llm.attention.slots import SlotChunk
from pandagpt_core.llm.config import LlamaConfig
from tests.plain_attention import needs_varlen, plain

CPU = torch.device("cpu")
LENGTH = 24


def upper_left(q: Tensor, k: Tensor, v: Tensor, packing: Packing) -> Tensor:
    """One that counts a query's place from the first key on, as some do: the first sees one key, the second two."""
    return plain(q, k, v, replace(packing, used=packing.queries.diff()))


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
    attention, positions = FlashAttention.over(cache, [SlotChunk(*stretch) for stretch in stretches], plain)
    assert positions.tolist() == [p for _, start, count in stretches for p in range(start, start + count)]
    return attention(1, *rows)


def test_mixed_steps_attend_as_whole_sequences(cache: SlotCache, qkv: tuple[Tensor, Tensor, Tensor]) -> None:
    whole = CausalAttention()(0, *qkv)
    attend(cache, qkv, (0, 0, 5), (1, 0, 9), (3, 0, 2))
    mixed = attend(cache, qkv, (0, 5, 1), (1, 9, 4), (2, 0, 7), (3, 2, 1))
    expected = torch.cat([whole[0, 5:6], whole[1, 9:13], whole[2, :7], whole[3, 2:3]])
    assert torch.allclose(mixed, expected, atol=1e-6)
    singles = attend(cache, qkv, (0, 6, 1), (3, 3, 1))  # two slots between them are idle
    assert torch.allclose(singles, torch.stack([whole[0, 6], whole[3, 3]]), atol=1e-6)


def test_decoding_with_fixed_shapes_attends_as_whole_sequences(
    cache: SlotCache, qkv: tuple[Tensor, Tensor, Tensor]
) -> None:
    whole = CausalAttention()(0, *qkv)
    attend(cache, qkv, (0, 0, 5), (1, 0, 9), (2, 0, 23))
    positions = torch.tensor([5, 9, 23])
    rows = [part[torch.arange(3), positions] for part in qkv]
    attended = FlashAttention.decoding(cache, positions, LENGTH, plain)(1, *rows)
    assert torch.allclose(attended, torch.stack([whole[0, 5], whole[1, 9], whole[2, 23]]), atol=1e-6)


def test_stretches_out_of_the_order_of_their_slots_are_a_mistake(cache: SlotCache) -> None:
    with pytest.raises(AssertionError, match="order of their slots"):
        FlashAttention.over(cache, [SlotChunk(2, 0, 1), SlotChunk(1, 0, 1)], plain)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_right_kernel_agrees_whatever_the_groups(tiny_config: LlamaConfig, kv_heads: int, dtype: torch.dtype) -> None:
    assert agrees(plain, replace(tiny_config, kv_heads=kv_heads), dtype, CPU)


def test_a_kernel_that_sees_other_keys_does_not_agree(tiny_config: LlamaConfig) -> None:
    def all_keys(q: Tensor, k: Tensor, v: Tensor, packing: Packing) -> Tensor:
        return plain(q, k, v, replace(packing, used=packing.used.clone().fill_(64), most_keys=64))

    assert not agrees(upper_left, tiny_config, torch.bfloat16, CPU)
    assert not agrees(all_keys, tiny_config, torch.bfloat16, CPU)


def test_where_there_is_no_kernel_masks_do(tiny_config: LlamaConfig) -> None:
    def asked(*_: object) -> bool:
        raise AssertionError("nobody is to be asked")

    assert fitting(tiny_config, torch.bfloat16, CPU, asked) is None
    assert fitting(tiny_config, torch.float32, torch.device("cuda"), asked) is None


@pytest.mark.parametrize(
    "answer", [True, False, RuntimeError("no kernel image"), ImportError("varlen"), TypeError("seqused_k")]
)
def test_a_kernel_is_taken_only_where_it_agrees(tiny_config: LlamaConfig, answer: bool | Exception) -> None:
    def asked(*_: object) -> bool:
        if isinstance(answer, Exception):
            raise answer
        return answer

    found = fitting(tiny_config, torch.bfloat16, torch.device("cuda"), asked)
    assert found is (flash.flash if answer is True else None)


def test_torchs_kernel_is_called_by_names_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    varlen = pytest.importorskip("torch.nn.attention.varlen", reason="this torch has no attention of many lengths")
    given: list[inspect.BoundArguments] = []
    signature = inspect.signature(varlen.varlen_attn)

    def noted(*args: object, **named: object) -> Tensor:
        given.append(signature.bind(*args, **named))
        return torch.zeros(1)

    monkeypatch.setattr(varlen, "varlen_attn", noted)
    places = torch.zeros(2, dtype=torch.int32)
    for most in (1, 7):
        flash.flash(*[torch.zeros(1, 1, 8)] * 3, Packing(places, places, places[1:], most, 9))
    assert [bound.arguments["window_size"] for bound in given] == [(-1, -1), (-1, 0)]
    assert [(bound.arguments["max_q"], bound.arguments["max_k"]) for bound in given] == [(1, 9), (7, 9)]


@pytest.mark.gpu
@needs_varlen
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_torchs_kernel_agrees_on_a_gpu(kv_heads: int) -> None:
    config = LlamaConfig(vocab=8, width=512, layers=1, heads=4, kv_heads=kv_heads, head_dim=128, ffn=8)
    assert fitting(config, torch.bfloat16, torch.device("cuda")) is flash.flash
