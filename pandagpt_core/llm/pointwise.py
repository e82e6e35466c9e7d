"""The functions of a layer between its matrix products, of tensors alone.

A decode step of one sequence is some hundred small kernels beside the products; on a CUDA device each function is
compiled to one of them (`pandagpt_core.compiled`). Sums, norms, rotation and gate are computed in float32 in either
form; a result that a product reads next is rounded to the product's element type.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pandagpt_core import compiled
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.rope import rotary, rotate


def norm(x: Tensor, weight: Tensor | None, eps: float, dtype: torch.dtype) -> Tensor:
    """RMS norm of float32 rows [..., D], rounded to `dtype`."""
    return F.rms_norm(x, x.shape[-1:], weight, eps).to(dtype)


def add_norm(x: Tensor, added: Tensor, weight: Tensor | None, eps: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The float32 sum of rows [..., D], and its norm as by `norm`."""
    x = x + added
    return x, norm(x, weight, eps, dtype)


def turn_heads(
    heads: Tensor, cos: Tensor, sin: Tensor, queries: int, norms: tuple[Tensor | None, Tensor | None], eps: float
) -> Tensor:
    """[..., H + KV, d] queries and keys, each in its norm where there is one, turned by their rotary angles."""
    x, (q_norm, k_norm) = heads.float(), norms
    if q_norm is not None and k_norm is not None:
        shape = x.shape[-1:]
        normed = (
            F.rms_norm(x[..., :queries, :], shape, q_norm, eps),
            F.rms_norm(x[..., queries:, :], shape, k_norm, eps),
        )
        x = torch.cat(normed, dim=-2)
    return rotate(x, cos, sin).to(heads.dtype)


def gate(gate_up: Tensor) -> Tensor:
    """SwiGLU's product (Shazeer 2020): [..., 2 F] gates and values to [..., F]."""
    gates, values = gate_up.float().chunk(2, dim=-1)
    return (F.silu(gates) * values).to(gate_up.dtype)


TurnHeads = Callable[[Tensor, Tensor, Tensor, int, tuple[Tensor | None, Tensor | None], float], Tensor]
"""As `turn_heads`."""


@dataclass(frozen=True, slots=True)
class Pointwise:
    """The functions of this module, as they are or compiled."""

    norm: Callable[[Tensor, Tensor | None, float, torch.dtype], Tensor] = norm
    add_norm: Callable[[Tensor, Tensor, Tensor | None, float, torch.dtype], tuple[Tensor, Tensor]] = add_norm
    turn: TurnHeads = turn_heads
    gate: Callable[[Tensor], Tensor] = gate


EAGER = Pointwise()


def fitting(config: LlamaConfig, dtype: torch.dtype, device: torch.device) -> Pointwise:
    """For a model's widths and its products' element type on a device."""
    return compiled.fitting(EAGER, probe(config, dtype, device), device)


def probe(config: LlamaConfig, dtype: torch.dtype, device: torch.device) -> compiled.Probe[Pointwise]:
    def results(made: Pointwise, rows: int) -> list[Tensor]:
        chance = torch.Generator().manual_seed(rows)

        def drawn(*shape: int, of: torch.dtype = torch.float32) -> Tensor:
            return torch.randn(*shape, generator=chance).to(device, of)

        x, weight = drawn(rows, config.width), drawn(config.width)
        of_heads = drawn(config.head_dim) if config.head_norms else None
        heads = drawn(rows, config.heads + config.kv_heads, config.head_dim, of=dtype)
        rotation = rotary(torch.arange(rows, device=device) + 5, config.head_dim, config.rope)
        return [
            made.norm(x, weight, config.norm_eps, dtype),
            *made.add_norm(x, drawn(rows, config.width, of=dtype), weight, config.norm_eps, dtype),
            made.turn(heads, *rotation, config.heads, (of_heads, of_heads), config.norm_eps),
            made.gate(drawn(rows, 2 * config.ffn, of=dtype)),
        ]

    return results
