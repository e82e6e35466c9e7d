"""The account of keys lists everything that is wrong, and the maps of names lose nothing."""

import pytest

from pandagpt_core.checkpoints import (
    PANDAGPT_DELTA,
    LoraSpec,
    ProjectionSpec,
    RetrievalSpec,
    account,
    adapter_shapes,
    renamed,
)
from pandagpt_core.errors import KeyMismatch

LLM = {
    "model.layers.0.self_attn.q_proj.weight": (8, 8),
    "model.layers.0.self_attn.k_proj.weight": (4, 8),
    "model.layers.0.mlp.up_proj.weight": (16, 8),
}


def test_equal_keys_pass() -> None:
    account("it", {"a": (1,), "b": ()}, {"b": (), "a": (1,)})


def test_everything_wrong_is_listed_at_once() -> None:
    with pytest.raises(KeyMismatch) as caught:
        account("it", {"a": (1,), "b": (2, 3), "c": ()}, {"b": (3, 2), "d": (), "e": ()})
    assert caught.value.missing == ("a", "c")
    assert caught.value.left_over == ("d", "e")
    assert caught.value.misshapen == {"b": ((3, 2), (2, 3))}
    assert "misshapen: b is (3, 2), expected (2, 3)" in str(caught.value)


def test_an_adapter_has_a_pair_for_each_target_of_its_own_shape() -> None:
    shapes = adapter_shapes(ProjectionSpec(4, 8), LoraSpec(2, 2.0, ("q_proj", "k_proj")), LLM)
    assert shapes == {
        "projection.weight": (8, 4),
        "projection.bias": (8,),
        "model.layers.0.self_attn.q_proj.lora_A.weight": (2, 8),
        "model.layers.0.self_attn.q_proj.lora_B.weight": (8, 2),
        "model.layers.0.self_attn.k_proj.lora_A.weight": (2, 8),
        "model.layers.0.self_attn.k_proj.lora_B.weight": (4, 2),
    }


@pytest.mark.parametrize("lora", [None, LoraSpec(2, 2.0, ("q_proj",), merged=True)])
def test_without_lora_or_with_it_merged_only_the_projection_is_expected(lora: LoraSpec | None) -> None:
    assert adapter_shapes(ProjectionSpec(4, 8), lora, LLM).keys() == {"projection.weight", "projection.bias"}


def test_a_recalls_directions_are_accounted_for_with_the_projection() -> None:
    projection = ProjectionSpec(4, 8, RetrievalSpec(directions=5, sharpness=20.0))
    assert adapter_shapes(projection, None, LLM)["projection.recall"] == (5, 4)


def test_pandagpts_names_become_ours_and_others_stay() -> None:
    prefix = "llama_model.base_model.model"
    names = renamed(
        [f"{prefix}.a.lora_A.default.weight", "llama_proj.bias", f"{prefix}.a.lora_A.weight"], PANDAGPT_DELTA
    )
    assert list(names.values()) == ["a.lora_A.weight", "projection.bias", f"{prefix}.a.lora_A.weight"]
