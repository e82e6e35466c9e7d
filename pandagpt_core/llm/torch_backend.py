"""A Llama made fast for torch: products joined and in a chosen precision, int8 in a rotated basis."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from pandagpt_core.llm import pointwise
from pandagpt_core.llm.attention.base import Attend, new_shapes
from pandagpt_core.llm.attention.cache import CacheShape, SlotCache
from pandagpt_core.llm.attention.slots import SlotAttention, SlotChunk
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import FeedForward, Layer, LayerBias, Llama, LlamaAttention, RMSNorm, attend_heads, whole
from pandagpt_core.llm.pointwise import EAGER, Pointwise
from pandagpt_core.llm.quant.fp8 import compile_rounding
from pandagpt_core.llm.quant.linear import DTYPES, Linear, Precision, in_precision, stacked
from pandagpt_core.llm.rope import rotary
from pandagpt_core.llm.rotation import rotate_ends, rotate_layer, spreading


class FusedAttention(nn.Module):
    """`LlamaAttention` with one product for queries, keys and values."""

    def __init__(
        self, plain: LlamaAttention, precision: Precision, device: str | torch.device, between: Pointwise
    ) -> None:
        super().__init__()
        self.config, self.between = plain.config, between
        self.qkv = in_precision(stacked([plain.q_proj, plain.k_proj, plain.v_proj]), precision, device)
        self.o_proj = in_precision(plain.o_proj, precision, device)
        self.q_norm, self.k_norm = plain.norms

    def forward(self, x: Tensor, layer: int, rotation: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        norms, turn = (self.q_norm, self.k_norm), self.between.turn
        out: Tensor = self.o_proj(attend_heads(self.qkv(x), self.config, norms, layer, rotation, attend, turn))
        return out


class FusedFeedForward(nn.Module):
    """`FeedForward` with one product for gate and up."""

    def __init__(
        self, plain: FeedForward, precision: Precision, device: str | torch.device, between: Pointwise
    ) -> None:
        super().__init__()
        self.between = between
        self.gate_up = in_precision(stacked([plain.gate_proj, plain.up_proj]), precision, device)
        # The input of `down`, a product of two, has outliers that no change of basis removes.
        self.down_proj = in_precision(plain.down_proj, precision, device, fine=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(self.between.gate(self.gate_up(x)))
        return out


class FusedLayer(nn.Module):
    """`Layer` whose residual stream is float32 and whose products read and write `dtype`."""

    def __init__(
        self,
        plain: Layer,
        precision: Precision,
        device: str | torch.device,
        dtype: torch.dtype = torch.float32,
        between: Pointwise = EAGER,
    ) -> None:
        super().__init__()
        assert isinstance(plain.self_attn, LlamaAttention)
        assert isinstance(plain.mlp, FeedForward)
        self.dtype, self.between = dtype, between
        self.input_layernorm, self.post_attention_layernorm = plain.input_layernorm, plain.post_attention_layernorm
        self.self_attn = FusedAttention(plain.self_attn, precision, device, between)
        self.mlp = FusedFeedForward(plain.mlp, precision, device, between)

    def forward(
        self,
        x: Tensor,
        update: Tensor | None,
        layer: int,
        rotation: tuple[Tensor, Tensor],
        attend: Attend,
        bias: LayerBias | None,
    ) -> tuple[Tensor, Tensor]:
        """The stream [..., D] and what the layer before adds to it, which is added where this one norms the sum; and
        the same two for the next layer."""
        before, after = self.input_layernorm, self.post_attention_layernorm
        x, normed = self.summed(x, update, before)
        attended: Tensor = self.self_attn(normed, layer, rotation, attend)
        if bias is not None:
            attended = attended + bias.at(layer)
        x, normed = self.summed(x, attended, after)
        return x, self.mlp(normed)

    def summed(self, x: Tensor, update: Tensor | None, norm: RMSNorm) -> tuple[Tensor, Tensor]:
        """The sum, and its norm for the next product."""
        if update is None:
            return x, self.between.norm(x, norm.weight, norm.eps, self.dtype)
        return self.between.add_norm(x, update, norm.weight, norm.eps, self.dtype)


class TorchLlama(nn.Module):
    """A Llama that serves. `stream` [D, D] is the basis of its residual stream, None for that of the stored weights.

    Its keys and values are float32 on a CPU, whose attention is faster there than bfloat16's.
    """

    def __init__(self, llm: Llama, head: nn.Module, precision: Precision, stream: Tensor | None = None) -> None:
        super().__init__()
        self.llm, self.head, self.stream = llm, head, stream
        self.precision: Precision = precision
        self.backend: Literal["torch"] = "torch"

    @property
    def config(self) -> LlamaConfig:
        return self.llm.config

    @property
    def device(self) -> torch.device:
        return self.llm.device

    @property
    def cache_dtype(self) -> torch.dtype:
        return torch.float32 if self.device.type == "cpu" else DTYPES.get(self.precision, torch.bfloat16)

    def embed(self, ids: Tensor | Sequence[int]) -> Tensor:
        return self.llm.embed(ids)

    def hidden(self, embeds: Tensor, positions: Tensor, attend: Attend, bias: LayerBias | None = None) -> Tensor:
        """As `Llama.hidden`; the result is in the basis of the stream, which the head leaves, and of its products'
        element type."""
        if self.stream is not None:
            embeds = embeds @ self.stream
            bias = None if bias is None else LayerBias(bias.rows @ self.stream, bias.index)
        rotation = rotary(positions, self.config.head_dim, self.config.rope)
        body, x, update = self.llm.model, embeds, None
        for index, layer in enumerate(body.layers):
            x, update = layer(x, update, index, rotation, attend, bias)
        last = body.layers[-1]
        assert isinstance(last, FusedLayer)
        return last.summed(x, update, body.norm)[1]

    def logits(self, hidden: Tensor) -> Tensor:
        out: Tensor = self.head(hidden)
        return out.float()

    def forward(self, embeds: Tensor, keep: Tensor | None = None, layer_bias: Tensor | None = None) -> Tensor:
        """As `Llama.forward`."""
        return whole(self, embeds, keep, layer_bias)

    def chunked(self, length: int) -> "TorchChunks":
        return TorchChunks(self, length)


class TorchChunks:
    """`ChunkedForward` over a cache of one slot."""

    def __init__(self, llm: TorchLlama, length: int) -> None:
        self._llm, self._start = llm, 0
        self._cache = SlotCache(llm.config, CacheShape(1, length, llm.cache_dtype), llm.device)

    def __call__(self, embeds: Tensor) -> Tensor:
        attend = SlotAttention(self._cache, [SlotChunk(0, self._start, len(embeds))])
        self._start += len(embeds)
        with new_shapes(embeds.device):
            return self._llm.logits(self._llm.hidden(embeds, attend.positions, attend)).float()


@torch.no_grad()
def serve(llm: Llama, precision: Precision = "fp32", device: str | torch.device = "cpu") -> TorchLlama:
    """Make a Llama fast and final. It gives up its layers and its head; merge adapters into it before.

    Layers are taken one by one, so no second set of weights is held. int8 works in a rotated basis (`rotation`).
    """
    llm.requires_grad_(False).eval()
    basis = spreading(llm.config.width, llm.config.head_dim).on(device) if precision == "int8" else None
    dtype = products_dtype(precision, device)
    between = pointwise.fitting(llm.config, dtype, torch.device(device))
    for index, layer in enumerate(llm.model.layers):
        assert isinstance(layer, Layer)
        if basis is not None:
            rotate_layer(layer.to(device), basis)
        llm.model.layers[index] = FusedLayer(layer, precision, device, dtype, between)
    if precision == "fp8":
        compile_rounding(llm, torch.device(device))
    if basis is not None:
        rotate_ends(llm, basis)
    head = in_precision(llm.lm_head, "bf16" if precision == "fp8" else precision, device)
    for module in llm.modules():
        if isinstance(module, RMSNorm) and module.weight is not None:
            module.weight.data = module.weight.data.to(device, torch.float32)
    table = llm.model.embed_tokens.weight
    if llm.config.tied and isinstance(head, Linear):
        llm.model.embed_tokens.weight = head.weight  # one table, in the head's precision
    else:
        table.data = table.data.to(device)
    del llm.lm_head
    return TorchLlama(llm, head, precision, None if basis is None else basis.stream)


def table_only(llm: Llama) -> TorchLlama:
    """Of a Llama whose layers have no memory: it embeds, and another process computes the rest."""
    return TorchLlama(llm, llm.lm_head, "fp32")


def products_dtype(precision: Precision, device: str | torch.device) -> torch.dtype:
    """Type of the products' inputs and outputs: on an accelerator their own 16 bits, as a cast is a kernel there."""
    if torch.device(device).type == "cpu" or precision == "int8":
        return torch.float32
    return DTYPES.get(precision, torch.bfloat16)
