"""LLaMA (Touvron et al. 2023): RMS norms, rotary positions, gated feed-forward, grouped key-value heads.

Module and parameter names are those of Hugging Face's `LlamaForCausalLM`, so its files load without a key map and
LoRA tools find their targets. The residual stream is float32; see `linear` for the precision of the products.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pandagpt_core.llm.attention.base import Attend, CausalAttention
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.quant.linear import DTYPES, Linear, Precision, in_precision, stacked, with_weight
from pandagpt_core.llm.quant.rotation import Basis, spreading

if TYPE_CHECKING:
    from pandagpt_core.llm.openvino.compiled import Compiled

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

    def give_up_gain(self) -> Tensor:
        """Its weight, which others apply from now on."""
        assert self.weight is not None
        gain, self.weight = self.weight.detach().float(), None
        return gain


class LlamaAttention(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        self.q_proj = Linear(config.width, config.heads * config.head_dim, bias="q_proj" in config.biases)
        self.k_proj = Linear(config.width, config.kv_heads * config.head_dim, bias="k_proj" in config.biases)
        self.v_proj = Linear(config.width, config.kv_heads * config.head_dim, bias="v_proj" in config.biases)
        self.o_proj: nn.Module = Linear(config.heads * config.head_dim, config.width, bias="o_proj" in config.biases)
        self.qkv: nn.Module | None = None

    def forward(self, x: Tensor, layer: int, rotation: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        turned = self.heads + self.kv_heads
        qkv = self._project(x).view(*x.shape[:-1], turned + self.kv_heads, self.head_dim)
        qk, v = rotate(qkv[..., :turned, :], *rotation), qkv[..., turned:, :]
        attended = attend(layer, qk[..., : self.heads, :], qk[..., self.heads :, :], v)  # [..., H, d]
        out: Tensor = self.o_proj(attended.flatten(-2))
        return out

    def _project(self, x: Tensor) -> Tensor:
        if self.qkv is not None:
            joined: Tensor = self.qkv(x)
            return joined
        return torch.cat((self.q_proj(x), self.k_proj(x), self.v_proj(x)), dim=-1)

    def fuse(self, precision: Precision, device: str | torch.device) -> None:
        self.qkv = in_precision(stacked([self.q_proj, self.k_proj, self.v_proj]), precision, device)
        del self.q_proj, self.k_proj, self.v_proj
        assert isinstance(self.o_proj, Linear)
        self.o_proj = in_precision(self.o_proj, precision, device)

    def turn(self, basis: Basis, gain: Tensor) -> None:
        assert isinstance(self.o_proj, Linear)
        self.q_proj = with_weight(basis.reads(self.q_proj.weight, gain), self.q_proj.bias)
        self.k_proj = with_weight(basis.reads(self.k_proj.weight, gain), self.k_proj.bias)
        values = basis.gives_values(basis.reads(self.v_proj.weight, gain))
        self.v_proj = with_weight(values, _mapped(basis.gives_values, self.v_proj.bias))
        out = basis.takes_values(basis.writes(self.o_proj.weight.float()))
        self.o_proj = with_weight(out, _mapped(basis.writes, self.o_proj.bias))


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.width, config.ffn, bias="gate_proj" in config.biases)
        self.up_proj = Linear(config.width, config.ffn, bias="up_proj" in config.biases)
        self.down_proj: nn.Module = Linear(config.ffn, config.width, bias="down_proj" in config.biases)
        self.gate_up: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.gate_up is None:
            gate, up = self.gate_proj(x), self.up_proj(x)
        else:
            gate, up = self.gate_up(x).chunk(2, dim=-1)
        out: Tensor = self.down_proj(F.silu(gate) * up)
        return out

    def fuse(self, precision: Precision, device: str | torch.device) -> None:
        self.gate_up = in_precision(stacked([self.gate_proj, self.up_proj]), precision, device)
        del self.gate_proj, self.up_proj
        assert isinstance(self.down_proj, Linear)
        # Its input, a product of two, has the outliers that no change of basis takes away.
        self.down_proj = in_precision(self.down_proj, precision, device, fine=True)

    def turn(self, basis: Basis, gain: Tensor) -> None:
        assert isinstance(self.down_proj, Linear)
        self.gate_proj = with_weight(basis.reads(self.gate_proj.weight, gain), self.gate_proj.bias)
        self.up_proj = with_weight(basis.reads(self.up_proj.weight, gain), self.up_proj.bias)
        down = basis.writes(self.down_proj.weight.float())
        self.down_proj = with_weight(down, _mapped(basis.writes, self.down_proj.bias))


class Layer(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.width, config.norm_eps)
        self.self_attn = LlamaAttention(config)
        self.post_attention_layernorm = RMSNorm(config.width, config.norm_eps)
        self.mlp = FeedForward(config)

    def forward(
        self, x: Tensor, layer: int, rotation: tuple[Tensor, Tensor], attend: Attend, bias: LayerBias | None
    ) -> Tensor:
        attended = self.self_attn(self.input_layernorm(x), layer, rotation, attend)
        if bias is not None:
            attended = attended + bias.at(layer)
        x = x + attended
        fed: Tensor = self.mlp(self.post_attention_layernorm(x))
        return x + fed

    def fuse(self, precision: Precision, device: str | torch.device) -> None:
        self.self_attn.fuse(precision, device)
        self.mlp.fuse(precision, device)

    def turn(self, basis: Basis) -> None:
        self.self_attn.turn(basis, self.input_layernorm.give_up_gain())
        self.mlp.turn(basis, self.post_attention_layernorm.give_up_gain())


class Body(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, config.norm_eps)


class Llama(nn.Module):
    """Build it, load weights into it (`weights.load_llama`), then `serve` it or
    `compile_for_cpu`; or train it as it is."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Body(config)
        self.lm_head: nn.Module = Linear(config.width, config.vocab, bias=False)
        self.precision: Precision = "fp32"
        self.compiled: Compiled | None = None  # what computes its layers and its head, where torch does not
        self._stream: Tensor | None = None  # the basis of the residual stream, where it is not the weights' own
        if config.tied:
            self.tie()

    def tie(self) -> None:
        """Let the head read the embedding table. Called again after weights were assigned."""
        assert isinstance(self.lm_head, Linear)
        self.lm_head.weight = self.model.embed_tokens.weight

    @property
    def device(self) -> torch.device:
        return self.model.embed_tokens.weight.device

    @property
    def cache_dtype(self) -> torch.dtype:
        """What its keys and values are kept in: on a CPU float32, whose attention is faster there than bfloat16's."""
        if self.compiled is not None:
            return self.compiled.cache_dtype
        return torch.float32 if self.device.type == "cpu" else DTYPES.get(self.precision, torch.bfloat16)

    def embed(self, ids: Tensor | Sequence[int]) -> Tensor:
        """[...] token ids to [..., D] float32 rows of the embedding table."""
        ids = torch.as_tensor(ids, dtype=torch.long, device=self.device)
        rows: Tensor = self.model.embed_tokens(ids)
        return rows.float()

    def hidden(self, embeds: Tensor, positions: Tensor, attend: Attend, bias: LayerBias | None = None) -> Tensor:
        """[..., D] embeddings at [...] positions to [..., D] final hidden states, normed."""
        rotation = rotary(positions, self.config.head_dim, self.config.rope_theta)
        x = embeds
        if self._stream is not None:
            x = x @ self._stream
            bias = None if bias is None else LayerBias(bias.rows @ self._stream, bias.index)
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
        if self.compiled is not None:
            assert keep is None
            assert layer_bias is None
            return self.compiled.whole(embeds)
        batch, length = embeds.shape[:2]
        positions = torch.arange(length, device=embeds.device).expand(batch, length)
        bias = None
        if layer_bias is not None:
            bias = LayerBias(layer_bias, torch.arange(batch, device=embeds.device)[:, None].expand(batch, length))
        return self.logits(self.hidden(embeds, positions, CausalAttention(keep), bias))

    @torch.no_grad()
    def serve(self, precision: Precision = "fp32", device: str | torch.device = "cpu") -> "Llama":
        """Make it fast and final, in place: products in `precision`, joined; no gradients; adapters merged before.

        int8 works in another basis (`turn`), taken layer by layer so that no second set of weights is held, on the
        device, where that takes seconds.
        """
        self.requires_grad_(False).eval()
        self.precision = precision
        basis = spreading(self.config.width, self.config.head_dim).on(device) if precision == "int8" else None
        for layer in self.model.layers:
            assert isinstance(layer, Layer)
            if basis is not None:
                layer.to(device).turn(basis)
            layer.fuse(precision, device)
        if basis is not None:
            self._turn_ends(basis)
        assert isinstance(self.lm_head, Linear)
        self.lm_head = in_precision(self.lm_head, "bf16" if precision == "fp8" else precision, device)
        for module in self.modules():
            if isinstance(module, RMSNorm) and module.weight is not None:
                module.weight.data = module.weight.data.to(device, torch.float32)
        table = self.model.embed_tokens.weight
        if self.config.tied and isinstance(self.lm_head, Linear):
            self.model.embed_tokens.weight = self.lm_head.weight  # one table, in the head's precision
        else:
            table.data = table.data.to(device)
        return self

    @torch.no_grad()
    def compile_for_cpu(self, precision: Precision = "fp32") -> "Llama":
        """As `serve`, with OpenVINO in torch's place: layers and head become one compiled graph, the table stays.

        Raises RuntimeError where OpenVINO does not do it here; then the model is no longer whole.
        """
        from pandagpt_core.llm.openvino.compiled import Compiled

        self.requires_grad_(False).eval()
        if precision == "int8":
            self.turn(spreading(self.config.width, self.config.head_dim))
        stream, self._stream = self._stream, None  # the graph enters the basis by itself
        self.precision, self.compiled = precision, Compiled(self, precision, stream)
        return self

    @torch.no_grad()
    def turn(self, basis: Basis) -> None:
        """Work in another basis inside, which `hidden` enters and the head leaves; answers stay what they are."""
        for layer in self.model.layers:
            assert isinstance(layer, Layer)
            layer.turn(basis)
        self._turn_ends(basis)

    def _turn_ends(self, basis: Basis) -> None:
        assert isinstance(self.lm_head, Linear)
        self._stream = basis.stream
        gain, device = self.model.norm.give_up_gain(), basis.stream.device
        self.lm_head = with_weight(basis.reads(self.lm_head.weight.to(device), gain.to(device)))


def _mapped(change: Callable[[Tensor], Tensor], bias: Tensor | None) -> Tensor | None:
    return None if bias is None else change(bias.float())


def rotary(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """cos [..., 1, d] and sin [..., 1, d], its first half negative, of the rotary angles (Su et al. 2021) at integer
    positions [...]; made once a step, so that each layer's rotation is three operations."""
    steps = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32)
    angles = positions[..., None, None].float() * (1.0 / theta ** (steps / head_dim))
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn [..., H, d] heads by their angles; component i pairs with i + d/2 (Hugging Face's layout)."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin)
