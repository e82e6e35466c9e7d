"""LLaMA (Touvron et al. 2023): RMS norms, rotary positions, gated feed-forward, grouped key-value heads.

Qwen2 (Yang et al. 2024) adds biases to it, Qwen3 (Yang et al. 2025) norms of each query and key.

Module and parameter names are those of Hugging Face's `LlamaForCausalLM`, so its files load without a key map and
LoRA tools find their targets. The residual stream is float32; see `quant.linear` for the precision of the products.
This file is the model as it is stored and trained; `torch_backend` and `openvino` make it fast.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pandagpt_core.llm.attention.base import Attend, CausalAttention, new_shapes
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.pointwise import TurnHeads, turn_heads
from pandagpt_core.llm.quant.linear import Linear
from pandagpt_core.llm.rope import rotary

__all__ = ["LayerBias", "Llama", "LlamaConfig"]


@dataclass(frozen=True, slots=True)
class LayerBias:
    """Vectors added to each layer's attention output: `rows` [S, L, D], of which row `index[n]` goes to token n."""

    rows: Tensor
    index: Tensor  # [...] integers, the leading shape of the embeddings

    def at(self, layer: int) -> Tensor:
        return self.rows[:, layer][self.index]  # [..., D]


class RMSNorm(nn.Module):
    """Zhang and Sennrich 2019, in float32 whatever the rest runs in. No weight is a weight of ones."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight: nn.Parameter | None = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], self.weight, self.eps)


# Of each head's queries and of its keys, one weight for all heads; a LLaMA has none.
HeadNorms = tuple[RMSNorm | None, RMSNorm | None]


class LlamaAttention(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.q_proj = Linear(config.width, config.heads * config.head_dim, bias="q_proj" in config.biases)
        self.k_proj = Linear(config.width, config.kv_heads * config.head_dim, bias="k_proj" in config.biases)
        self.v_proj = Linear(config.width, config.kv_heads * config.head_dim, bias="v_proj" in config.biases)
        self.o_proj = Linear(config.heads * config.head_dim, config.width, bias="o_proj" in config.biases)
        self.q_norm = RMSNorm(config.head_dim, config.norm_eps) if config.head_norms else None
        self.k_norm = RMSNorm(config.head_dim, config.norm_eps) if config.head_norms else None

    @property
    def norms(self) -> HeadNorms:
        return self.q_norm, self.k_norm

    def forward(self, x: Tensor, layer: int, rotation: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        qkv = torch.cat((self.q_proj(x), self.k_proj(x), self.v_proj(x)), dim=-1)
        out: Tensor = self.o_proj(attend_heads(qkv, self.config, self.norms, layer, rotation, attend))
        return out


def attend_heads(
    qkv: Tensor,
    config: LlamaConfig,
    norms: HeadNorms,
    layer: int,
    rotation: tuple[Tensor, Tensor],
    attend: Attend,
    turn: TurnHeads = turn_heads,
) -> Tensor:
    """Queries, keys and values of all heads [..., (H + 2 KV) d] to the attended values [..., H d]."""
    turned = config.heads + config.kv_heads
    qkv = qkv.view(*qkv.shape[:-1], turned + config.kv_heads, config.head_dim)
    q_norm, k_norm = (None if each is None else each.weight for each in norms)
    qk = turn(qkv[..., :turned, :], *rotation, config.heads, (q_norm, k_norm), config.norm_eps)
    v = qkv[..., turned:, :]
    attended = attend(layer, qk[..., : config.heads, :], qk[..., config.heads :, :], v)  # [..., H, d]
    return attended.flatten(-2)


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.width, config.ffn, bias="gate_proj" in config.biases)
        self.up_proj = Linear(config.width, config.ffn, bias="up_proj" in config.biases)
        self.down_proj = Linear(config.ffn, config.width, bias="down_proj" in config.biases)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Layer(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.width, config.norm_eps)
        self.self_attn: nn.Module = LlamaAttention(config)  # or a back end's
        self.post_attention_layernorm = RMSNorm(config.width, config.norm_eps)
        self.mlp: nn.Module = FeedForward(config)

    def forward(
        self, x: Tensor, layer: int, rotation: tuple[Tensor, Tensor], attend: Attend, bias: LayerBias | None
    ) -> Tensor:
        attended: Tensor = self.self_attn(self.input_layernorm(x), layer, rotation, attend)
        if bias is not None:
            attended = attended + bias.at(layer)
        x = x + attended
        fed: Tensor = self.mlp(self.post_attention_layernorm(x))
        return x + fed


class Body(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, config.norm_eps)


class Llama(nn.Module):
    """Build it and load weights into it (`weights.load_llama`). Train it as it is, or serve it (`autotune.served`)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Body(config)
        self.lm_head = Linear(config.width, config.vocab, bias=False)
        if config.tied:
            self.tie()

    def tie(self) -> None:
        """Let the head read the embedding table. Called again after weights were assigned."""
        self.lm_head.weight = self.model.embed_tokens.weight

    @property
    def device(self) -> torch.device:
        return self.model.embed_tokens.weight.device

    def embed(self, ids: Tensor | Sequence[int]) -> Tensor:
        """[...] token ids to [..., D] float32 rows of the embedding table."""
        ids = torch.as_tensor(ids, dtype=torch.long, device=self.device)
        rows: Tensor = self.model.embed_tokens(ids)
        return rows.float()

    def hidden(self, embeds: Tensor, positions: Tensor, attend: Attend, bias: LayerBias | None = None) -> Tensor:
        """[..., D] embeddings at [...] positions to [..., D] final hidden states, normed."""
        rotation = rotary(positions, self.config.head_dim, self.config.rope)
        x = embeds
        for index, layer in enumerate(self.model.layers):
            x = layer(x, index, rotation, attend, bias)
        out: Tensor = self.model.norm(x)
        return out

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., D] hidden states to [..., V] float32 logits."""
        out: Tensor = self.lm_head(hidden)
        return out

    def forward(self, embeds: Tensor, keep: Tensor | None = None, layer_bias: Tensor | None = None) -> Tensor:
        """Whole sequences, no cache: [B, T, D] to [B, T, V]. `keep` [B, T] is False at right padding.

        `layer_bias` [B, L, D] is added to the attention outputs of each sequence.
        """
        return whole(self, embeds, keep, layer_bias)


class Hidden(Protocol):
    """A Llama, or one that serves by torch: hidden states of packed or batched positions, and logits of those."""

    def hidden(self, embeds: Tensor, positions: Tensor, attend: Attend, bias: LayerBias | None = None) -> Tensor: ...

    def logits(self, hidden: Tensor) -> Tensor: ...


def whole(llm: Hidden, embeds: Tensor, keep: Tensor | None, layer_bias: Tensor | None) -> Tensor:
    """Logits [B, T, V] of whole sequences [B, T, D], without a cache."""
    batch, length = embeds.shape[:2]
    positions = torch.arange(length, device=embeds.device).expand(batch, length)
    bias = None
    if layer_bias is not None:
        bias = LayerBias(layer_bias, torch.arange(batch, device=embeds.device)[:, None].expand(batch, length))
    with new_shapes(embeds.device):
        return llm.logits(llm.hidden(embeds, positions, CausalAttention(keep), bias))
