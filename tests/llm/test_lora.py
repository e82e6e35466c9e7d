"""Merging adapters into weights."""

from collections.abc import Callable

import pytest
import torch

from pandagpt_core.errors import KeyMismatch
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.lora import merge_lora

MakeLlama = Callable[..., Llama]
NAME = "model.layers.1.self_attn.k_proj"


def test_a_merged_layer_answers_as_base_plus_adapter(make_llama: MakeLlama) -> None:
    llama = make_llama()
    a, b, x = torch.randn(4, 32), torch.randn(16, 4), torch.randn(3, 32)
    layer = llama.get_submodule(NAME)
    expected = layer(x) + 0.5 * (x @ a.T @ b.T)
    merge_lora(llama, {NAME: (a, b)}, scale=0.5)
    assert torch.allclose(layer(x), expected, atol=1e-4)


def test_half_weights_are_summed_in_float32(make_llama: MakeLlama) -> None:
    llama = make_llama().half()
    before = llama.get_submodule(NAME).weight.float()
    a, b = torch.full((1, 32), 1e-4), torch.full((16, 1), 1e-3)  # below half precision's steps
    merge_lora(llama, {NAME: (a.half(), b.half())}, scale=1.0)
    weight = llama.get_submodule(NAME).weight
    assert weight.dtype == torch.float32
    assert (weight != before).all()


def test_names_and_shapes_that_do_not_fit_are_listed_and_nothing_changes(make_llama: MakeLlama) -> None:
    llama = make_llama()
    before = llama.get_submodule(NAME).weight.clone()
    good = (torch.ones(4, 32), torch.ones(16, 4))
    with pytest.raises(KeyMismatch) as caught:
        merge_lora(llama, {NAME: good, "model.layers.9.mlp.up_proj": good, "lm_head": good}, scale=1.0)
    assert caught.value.left_over == ("model.layers.9.mlp.up_proj",)
    assert list(caught.value.misshapen) == ["lm_head"]
    assert torch.equal(llama.get_submodule(NAME).weight, before)


def test_factors_of_different_rank_are_refused(make_llama: MakeLlama) -> None:
    with pytest.raises(KeyMismatch):
        merge_lora(make_llama(), {NAME: (torch.ones(4, 32), torch.ones(16, 3))}, scale=1.0)
