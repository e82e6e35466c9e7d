"""Grouped-query attention that never repeats a key-value head, and the plain causal form without a cache."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

UNPLANNED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


class Attend(Protocol):
    """The interface of a cache to a layer: all that the model uses of it."""

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
        """q [..., H, d], k and v [..., KV, d], rotated, in: the attended values [..., H, d] out, all float32."""
        ...


def new_shapes(device: torch.device) -> AbstractContextManager[None]:
    """For attention whose shapes seldom come again: without cuDNN's kernels, which plan each new shape (0.1 s and more
    for a prompt on an H200)."""
    return sdpa_kernel(UNPLANNED) if device.type == "cuda" else nullcontext()


def grouped_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """q [B, KV, R, d], k and v [B, KV, T, d], mask broadcastable to [B, 1, R, T]: [B, KV, R, d].

    The R query rows are the heads of one group (times the positions, in a prefill): a group reads its one key-value
    head as if its members were positions of one head.
    """
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def attend_rows(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """`grouped_attention` for few rows against float32 keys on a CPU: q [N, R, d], k [N, d, T], v [N, T, d] of N heads
    of sequences, mask [N, 1, T]: [N, R, d].

    Two batched products and a softmax, without the fused kernel's fixed cost for each sequence and head.
    """
    scores = torch.baddbmm(mask, q, k, alpha=q.shape[-1] ** -0.5)
    return torch.bmm(torch.softmax(scores, dim=-1), v)


def group_queries(q: Tensor, kv_heads: int) -> Tensor:
    """[B, T, H, d] queries as [B, KV, G*T, d] rows, the T positions of one head together."""
    batch, length, heads, dim = q.shape
    grouped = q.view(batch, length, kv_heads, heads // kv_heads, dim).permute(0, 2, 3, 1, 4)
    return grouped.reshape(batch, kv_heads, -1, dim)


def ungroup_queries(rows: Tensor, length: int) -> Tensor:
    """The inverse of `group_queries` for attended values: [B, KV, G*T, d] to [B, T, H, d]."""
    batch, kv_heads, count, dim = rows.shape
    return rows.view(batch, kv_heads, count // length, length, dim).permute(0, 3, 1, 2, 4).flatten(2, 3)


def causal_mask(new: int, total: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """[new, total] additive mask for the last `new` of `total` positions: 0 up to oneself, -inf after."""
    masked = torch.full((new, total), float("-inf"), device=device, dtype=dtype)
    return masked.triu(total - new + 1)


class CausalAttention:
    """Attention over whole sequences [B, T, ...] without a cache: training, and the reference for the engine.

    `keep` [B, T] is False at padding, which nobody attends to; padding stands on the right.
    """

    def __init__(self, keep: Tensor | None = None) -> None:
        self.keep = keep

    def __call__(self, _layer: int, q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
        length, kv_heads = q.shape[1], k.shape[2]
        mask = causal_mask(length, length, q.device, q.dtype)[None, None]  # [1, 1, T, T]
        if self.keep is not None:
            mask = mask.masked_fill(~self.keep[:, None, None, :], float("-inf"))
        mask = mask.repeat(1, 1, q.shape[2] // kv_heads, 1)  # [B or 1, 1, G*T, T]
        attended = grouped_attention(group_queries(q, kv_heads), k.transpose(1, 2), v.transpose(1, 2), mask)
        return ungroup_queries(attended, length)
