"""One vector into the attention of every layer, through gates that begin at zero (LLaMA-Adapter, Zhang et al. 2023).

The vector is a prefix of one token, so softmax over it is 1: its gated value is added to the attention's output at
every position, in the last layers. There it passes the output projection, which the engine's `layer_bias` does not; so
the projection is applied here.
"""

import torch
from torch import Tensor, nn


def to_heads(values: Tensor, heads: int, kv_heads: int) -> Tensor:
    """[..., KV * d] values to [..., H * d]: each key-value head once for every query head of its group, in order."""
    groups = values.reshape(*values.shape[:-1], kv_heads, -1)
    return groups.repeat_interleave(heads // kv_heads, dim=-2).flatten(-2)


class PrefixAdapter(nn.Module):
    """gates [Q, H], one a head; queries [Q, D], added to the vector; both of the last Q layers."""

    def __init__(self, layers: int, heads: int, width: int) -> None:
        super().__init__()
        self.gates = nn.Parameter(torch.zeros(layers, heads))
        self.queries = nn.Parameter(torch.zeros(layers, width))

    @property
    def layers(self) -> int:
        return len(self.gates)

    def forward(self, visual: Tensor, values: Tensor, outputs: Tensor) -> Tensor:
        """[..., D] vectors to [..., Q, D] additions to the layers' attention outputs.

        values [Q, H * d, D]: the layers' value projections as they were before low-rank updates. outputs [Q, D, H * d]:
        the output projections with them, without bias.
        """
        prefix = visual[..., None, :] + self.queries  # [..., Q, D]
        value = torch.einsum("qvd,...qd->...qv", values, prefix)
        gates = self.gates.tanh().repeat_interleave(value.shape[-1] // self.gates.shape[1], dim=1)  # [Q, H * d]
        return torch.einsum("qdv,...qv->...qd", outputs, gates * value)


class LayerMaps(nn.Module):
    """A `PrefixAdapter` and the projections around it as one matrix [D, D] a layer, for serving.

    maps [Q, D, D] in the language model's precision; `queries` [Q, D] float32. `total` is the model's layers, of which
    the first get zeros.
    """

    maps: Tensor
    queries: Tensor

    def __init__(self, maps: Tensor, queries: Tensor, total: int) -> None:
        super().__init__()
        self.total = total
        self.register_buffer("maps", maps)
        self.register_buffer("queries", queries)

    @classmethod
    @torch.no_grad()
    def folded(
        cls, adapter: PrefixAdapter, values: list[Tensor], outputs: list[Tensor], total: int, dtype: torch.dtype
    ) -> "LayerMaps":
        """One layer at a time, in float32, kept as `dtype`. values and outputs: as in `PrefixAdapter`, by layer."""
        maps = []
        for gates, value, output in zip(adapter.gates.float().tanh(), values, outputs, strict=True):
            gate = gates.repeat_interleave(value.shape[0] // len(gates))  # [H * d]
            maps.append(((output.float() * gate) @ value.float()).to(dtype))
        return cls(torch.stack(maps), adapter.queries.detach().float(), total)

    def cast_maps(self, dtype: torch.dtype) -> "LayerMaps":
        """The same, kept in another type."""
        self.maps = self.maps.to(dtype)
        return self

    def forward(self, visual: Tensor) -> Tensor:
        """[D] to the engine's layer bias [L, D], float32."""
        prefix = (visual + self.queries).to(self.maps.dtype)  # [Q, D]
        added = torch.bmm(self.maps, prefix[:, :, None])[:, :, 0].float()
        return torch.cat([added.new_zeros(self.total - len(added), added.shape[1]), added])
