"""Attention of sequences of many lengths, written out: in place of torch's kernel for it, which needs a GPU."""

import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pandagpt_core.llm.attention.flash import Packing


def plain(q: Tensor, k: Tensor, v: Tensor, packing: Packing) -> Tensor:
    """As torch documents its own: the first `used` keys of each sequence, the queries standing at their end."""
    assert [t.dtype for t in (packing.queries, packing.keys, packing.used)] == [torch.int32] * 3
    assert (k.shape[1], packing.queries.shape, packing.used.shape) == (1, packing.keys.shape, packing.keys[1:].shape)
    assert int(packing.queries[-1]) == len(q)
    answers = []
    for n, used in enumerate(packing.used.tolist()):
        first, end = packing.queries[n : n + 2].tolist()
        begin, beyond = packing.keys[n : n + 2].tolist()
        assert end - first <= packing.most_queries
        assert used <= min(packing.most_keys, beyond - begin)
        keys, values = (each[begin : begin + used].transpose(0, 1) for each in (k, v))  # [1, used, d]
        seen = torch.ones(end - first, used, dtype=torch.bool).tril(used - (end - first))
        attended = F.scaled_dot_product_attention(q[first:end].transpose(0, 1), keys, values, seen)  # [G, count, d]
        answers.append(attended.transpose(0, 1))
    return torch.cat(answers)


def _has_varlen() -> bool:
    """Whether this torch's attention of many lengths takes what `flash` gives it."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return {"window_size", "enable_gqa", "seqused_k"} <= set(inspect.signature(varlen_attn).parameters)


needs_varlen = pytest.mark.skipif(not _has_varlen(), reason="this torch's varlen_attn has no enable_gqa or seqused_k")
