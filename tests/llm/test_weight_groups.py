"""Groups of int8 weights that suit the processor, found by what its products do."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama

pytest.importorskip("openvino", reason="OpenVINO is not installed (pip install -e '.[openvino]')")


from pandagpt_core.llm.openvino.graph import build_graph
from pandagpt_core.llm.openvino.weight_groups import GROUPS, rounds_activations

Product = Callable[[np.ndarray, np.ndarray], np.ndarray]


def exact(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.flip(rows, 1) @ np.flip(weights.T, 0).astype(np.float32)  # other last bits


def rounded(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    step = np.abs(rows).max(1, keepdims=True) / 127
    return (rows / step).round() * step @ weights.T.astype(np.float32)


def missing(_rows: np.ndarray, _weights: np.ndarray) -> np.ndarray:
    raise RuntimeError("could not create a primitive")


@pytest.mark.parametrize(("product", "rounds"), [(exact, False), (rounded, True), (missing, True)])
def test_rounded_activations_show_in_the_sums(product: Product, rounds: bool) -> None:
    assert rounds_activations(product) is rounds


@pytest.mark.parametrize("group", GROUPS.values())
def test_as_many_weights_share_a_scale(make_llama: Callable[..., Llama], tiny_config: LlamaConfig, group: int) -> None:
    """Rows that groups do not fill have one scale."""
    graph, _ = build_graph(make_llama(replace(tiny_config, width=128, ffn=80)), "int8", None, group)
    shapes = [
        list(node.get_output_shape(0))
        for node in graph.get_ops()
        if node.get_type_name() == "Constant" and node.get_element_type().to_string() == "i8"
    ]
    assert {shape[-1] for shape in shapes if shape[-2:] != [1, 80]} == {group, 32}
    assert [shape[-1] for shape in shapes if shape[-2:] == [1, 80]] == [80] * tiny_config.layers
