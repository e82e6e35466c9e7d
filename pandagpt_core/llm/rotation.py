"""Another basis for the residual stream and the heads' values, in which no component stands out.

An activation row in int8 is as coarse as its largest component demands, and a trained LLaMA has a few components that
are a hundred times the others. An orthogonal change of basis spreads them over all components and cancels out of the
model's answers: it is absorbed by the weights on either side (QuaRot: Ashkboos et al. 2024, section 4). It needs no
data. It does not change the product of the two halves of the feed-forward.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pandagpt_core.llm.llama import FeedForward, Layer, Llama, LlamaAttention, RMSNorm
from pandagpt_core.llm.quant.linear import Linear, with_weight


@dataclass(frozen=True, slots=True)
class Basis:
    """Orthogonal matrices whose columns are the new axes: of the residual stream [D, D], of a head's values [d, d]."""

    stream: Tensor
    head: Tensor

    def on(self, device: str | torch.device) -> "Basis":
        return Basis(self.stream.to(device), self.head.to(device))

    def reads(self, weight: Tensor, gain: Tensor) -> Tensor:
        """A weight [out, D] that reads the normed stream, the norm's gain absorbed."""
        return (weight * gain) @ self.stream

    def writes(self, weight: Tensor) -> Tensor:
        """A weight [D, in], or a bias [D], whose output is added to the stream."""
        return self.stream.T @ weight

    def gives_values(self, weight: Tensor) -> Tensor:
        """A weight [KV*d, D], or a bias [KV*d], whose output is the heads' values."""
        heads = weight.view(-1, len(self.head), weight.shape[1] if weight.dim() > 1 else 1)  # [KV, d, D]
        return (self.head.T @ heads).view(weight.shape)

    def takes_values(self, weight: Tensor) -> Tensor:
        """A weight [D, H*d] that reads the heads' attended values."""
        return (weight.view(-1, len(self.head)) @ self.head).view(weight.shape)


def spreading(width: int, head_dim: int) -> Basis:
    return Basis(spread(width), spread(head_dim))


def spread(width: int) -> Tensor:
    """An orthogonal [width, width] whose entries are about as large as one another, the same at every call.

    Sylvester's Hadamard matrix for the power of two in the width, a random orthogonal one for the rest of it, and
    random signs, so that no direction that a model may favour (all ones) becomes an axis.
    """
    chance = torch.Generator().manual_seed(width)
    power = width & -width
    other, _ = torch.linalg.qr(torch.randn(width // power, width // power, generator=chance, dtype=torch.float64))
    signs = torch.randint(0, 2, (width, 1), generator=chance) * 2 - 1
    return (signs * torch.kron(other.contiguous(), _hadamard(power))).float()


def _hadamard(size: int) -> Tensor:
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while len(matrix) < size:
        matrix = torch.cat((torch.cat((matrix, matrix), dim=1), torch.cat((matrix, -matrix), dim=1)))
    return matrix / math.sqrt(size)


def rotate_weights(llm: Llama, basis: Basis) -> None:
    """Let a model work in another basis inside. Its input must enter the basis: embeddings @ `basis.stream`."""
    for layer in llm.model.layers:
        assert isinstance(layer, Layer)
        rotate_layer(layer, basis)
    rotate_ends(llm, basis)


def rotate_layer(layer: Layer, basis: Basis) -> None:
    attention, mlp = layer.self_attn, layer.mlp
    assert isinstance(attention, LlamaAttention)
    assert isinstance(mlp, FeedForward)
    gain = _take_gain(layer.input_layernorm)
    for projection in (attention.q_proj, attention.k_proj):
        _change(projection, basis.reads(projection.weight, gain))
    _change(attention.v_proj, basis.gives_values(basis.reads(attention.v_proj.weight, gain)), basis.gives_values)
    _change(attention.o_proj, basis.takes_values(basis.writes(attention.o_proj.weight.float())), basis.writes)
    gain = _take_gain(layer.post_attention_layernorm)
    for projection in (mlp.gate_proj, mlp.up_proj):
        _change(projection, basis.reads(projection.weight, gain))
    _change(mlp.down_proj, basis.writes(mlp.down_proj.weight.float()), basis.writes)


def rotate_ends(llm: Llama, basis: Basis) -> None:
    """The last norm and the head, which leaves the basis."""
    gain, device = _take_gain(llm.model.norm), basis.stream.device
    llm.lm_head = with_weight(basis.reads(llm.lm_head.weight.to(device), gain.to(device)))


def _take_gain(norm: RMSNorm) -> Tensor:
    """The weight of a norm, which the products after it apply from now on."""
    assert norm.weight is not None
    gain, norm.weight = norm.weight.detach().float(), None
    return gain


def _change(layer: Linear, weight: Tensor, of_bias: Callable[[Tensor], Tensor] | None = None) -> None:
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if layer.bias is not None and of_bias is not None:
        layer.bias = nn.Parameter(of_bias(layer.bias.detach().float()), requires_grad=False)
