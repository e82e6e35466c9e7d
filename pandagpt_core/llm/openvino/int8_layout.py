"""The layout of int8 weights for OpenVINO's products: the fastest and smallest depends on the processor.

Where the processor multiplies int8 numbers (VNNI), OpenVINO rounds the activations in the weights' groups too.
Elsewhere it makes float32 numbers of the weights, a block of them at a time.
"""

import functools
from collections.abc import Callable

import numpy as np
import openvino as ov
import openvino.opset15 as op
from openvino import PartialShape, Type

from pandagpt_core.llm.openvino.core import core

GROUPS = {True: 64, False: 32}  # by whether activations are rounded
SIZE = 64  # of the product by which that is found out
BLOCK, FILLER = 32, 8  # outputs
APART = 1e-4  # of the largest sum: rounded activations are 5e-3 away, float32 ones 1e-6


Rows = np.ndarray


def group_size() -> int:
    """Neighbours of a weight's row that share a scale.

    With AVX2 a step of SmolLM2 takes 0.95 times as long by 32 as by 64 for one or two rows, 0.98 for four and 1.04 for
    sixteen. With VNNI its products by 32 take 1.03 to 1.2 times as long.
    """
    return GROUPS[rounds_activations(_openvino_product)]


def filler(outputs: int, group: int) -> int:
    """Outputs of zero weights that make OpenVINO pack a product's weights once: their number.

    Where it does not round activations, it packs weights of up to some 8,000 outputs that fill whole blocks in one way
    for up to four rows and in another for more, and keeps both. With a few more outputs it packs them in one way, which
    is no slower. They are to be cut off again, so this pays where a product is cut into parts anyway.
    """
    return FILLER if group == GROUPS[False] and outputs % BLOCK == 0 else 0


@functools.cache
def rounds_activations(product: Callable[[Rows, Rows], Rows]) -> bool:
    """Whether a product of rows [N, in] float32 and weights [out, in] int8 rounds the rows first, as its sums show."""
    chance = np.random.default_rng(0)
    weights = chance.integers(-127, 128, (SIZE, SIZE), dtype=np.int8)
    rows = chance.standard_normal((2, SIZE), dtype=np.float32)
    wanted = rows @ weights.T.astype(np.float32)
    try:
        got = product(rows, weights)
    except RuntimeError:  # no int8 products at all, which the probe of a whole model finds
        return True
    return bool(np.abs(got - wanted).max() > APART * np.abs(wanted).max())


def _openvino_product(rows: Rows, weights: Rows) -> Rows:
    """Compiled as the decoder's products are, the weights with a scale of 1."""
    x = op.parameter(PartialShape([-1, weights.shape[1]]), Type.f32)
    scaled = op.multiply(
        op.convert(op.constant(weights), Type.f32), op.constant(np.ones((len(weights), 1), np.float32))
    )
    graph = ov.Model([op.matmul(x, scaled, False, True)], [x], "product")
    settings = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUPS[True]}
    sums: Rows = core().compile_model(graph, "CPU", settings)({0: rows})[0]
    return sums
