"""Merge low-rank adapters (Hu et al. 2021) into the weights they adapt, so that serving pays nothing for them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from pandagpt_core.errors import KeyMismatch
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.quant.linear import Linear


@torch.no_grad()
def merge_lora(
    llama: Llama,
    adapters: Mapping[str, tuple[Tensor, Tensor]],
    scale: float,
    dtype: torch.dtype = torch.float32,
) -> None:
    """W += scale * B A, in place, for each adapted layer; before `torch_backend.serve`.

    adapters: the layer's name in the model ("model.layers.0.self_attn.q_proj") to A [r, in] and B [out, r]. scale:
    alpha / r. dtype: the type of merged weights; the sum is taken in float32. Raises KeyMismatch for a name that is no
    linear layer or a shape that is not the layer's, before any change.
    """
    layers = {name: module for name, module in llama.named_modules() if isinstance(module, Linear)}
    _check(layers, adapters)
    for name, (a, b) in adapters.items():
        weight = layers[name].weight
        merged = weight.float() + scale * (b.float() @ a.float()).to(weight.device)
        layers[name].weight = torch.nn.Parameter(merged.to(dtype), requires_grad=weight.requires_grad)


def _check(layers: Mapping[str, Linear], adapters: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    unknown = sorted(adapters.keys() - layers.keys())
    misshapen = {}
    for name, (a, b) in adapters.items():
        found, rank = (b.shape[0], a.shape[1]), a.shape[0]
        if name in layers and (found != tuple(layers[name].weight.shape) or b.shape[1] != rank):
            misshapen[name] = ((*b.shape, *a.shape), tuple(layers[name].weight.shape))
    if unknown or misshapen:
        raise KeyMismatch("adapter of the language model", left_over=unknown, misshapen=misshapen)
