"""The layout of int8 weights that suits the processor, found by what its products do."""

import ctypes
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama

pytest.importorskip("openvino", reason="OpenVINO is not installed (pip install -e '.[openvino]')")


from pandagpt_core.llm.openvino.compiled import BlockChunk, compile_for_cpu
from pandagpt_core.llm.openvino.graph import build_graph
from pandagpt_core.llm.openvino.int8_layout import BLOCK, GROUPS, filler, rounds_activations
from tests.llm.openvino_here import needs

MALLINFO2 = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
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


def shapes_of(llama: Llama, group: int) -> list[list[int]]:
    """[outputs, groups, weights of a group] of each product of the graph."""
    graph, _ = build_graph(llama, "int8", None, group)
    return [
        list(node.get_output_shape(0))
        for node in graph.get_ops()
        if node.get_type_name() == "Constant" and node.get_element_type().to_string() == "i8"
    ]


@pytest.mark.parametrize("group", GROUPS.values())
def test_as_many_weights_share_a_scale(make_llama: Callable[..., Llama], tiny_config: LlamaConfig, group: int) -> None:
    """Rows that groups do not fill have one scale."""
    shapes = shapes_of(make_llama(replace(tiny_config, width=128, ffn=80)), group)
    assert {shape[-1] for shape in shapes if shape[-2:] != [1, 80]} == {group, 32}
    assert [shape[-1] for shape in shapes if shape[-2:] == [1, 80]] == [80] * tiny_config.layers


@pytest.mark.parametrize(("rounds", "more"), [(True, 0), (False, 8)])
def test_joined_products_have_more_outputs(make_llama: Callable[..., Llama], rounds: bool, more: int) -> None:
    config = LlamaConfig(vocab=96, width=64, layers=1, heads=4, kv_heads=2, head_dim=16, ffn=160)
    outputs = [shape[0] for shape in shapes_of(make_llama(config), GROUPS[rounds])]
    assert sorted(outputs) == sorted([128 + more, 64, 320 + more, 64, 96])  # attention, feed-forward, head


def test_outputs_are_added_where_weights_would_be_packed_twice() -> None:
    fine, coarse = GROUPS[False], GROUPS[True]
    assert [(outputs + filler(outputs, fine)) % BLOCK == 0 for outputs in (576, 960, 577, 16)] == [False] * 4
    assert [filler(outputs, fine) for outputs in (577, 16)] == [0, 0]
    assert filler(576, coarse) == 0


def in_use() -> int:
    """Bytes that the C library's allocator has given out, mapped ones among them."""
    find = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if find is None:  # another library than glibc (musl, macOS), or one before 2.33: nothing else tells what is packed
        pytest.skip("the C library does not count its memory (mallinfo2)")
    find.restype = Counts
    counts = find()
    return int(counts.uordblks + counts.hblkhd)


class Counts(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in MALLINFO2)


def test_joined_weights_are_packed_once_for_prompts_and_for_single_tokens(make_llama: Callable[..., Llama]) -> None:
    needs("int8")
    config = LlamaConfig(vocab=96, width=576, layers=4, heads=9, kv_heads=3, head_dim=64, ffn=1536)
    weights = config.layers * (576 * (9 + 3 + 3) * 64 + 576 * 576 + 3 * 576 * 1536)  # bytes
    llama = compile_for_cpu(make_llama(config), "int8")
    session = llama.session(4)
    session.run(torch.zeros(24, config.width), [BlockChunk(0, 24, range(2))])
    before = in_use()
    for rows in (2, 8, 24):
        session.run(torch.zeros(rows, config.width), [BlockChunk(0, rows, range(2))])
    assert in_use() - before < 0.6 * weights  # a third is of products that are not joined
