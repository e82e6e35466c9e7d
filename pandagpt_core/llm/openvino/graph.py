"""A LLaMA's step over packed rows as an OpenVINO graph, keys and values in blocks (`PagedAttention`).

Norms, rotary positions and gated products are written in the shapes that OpenVINO recognises and joins to single
kernels. The operation PagedAttention is OpenVINO's own, outside of its numbered sets: its inputs differ between
versions, so the version is held by the extra.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset15 as op
import torch
from openvino import PartialShape, Type
from openvino.op import _PagedAttentionExtension as PagedAttention
from torch import Tensor, nn

from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import FeedForward, Layer, Llama, LlamaAttention, RMSNorm
from pandagpt_core.llm.openvino.int8_layout import FILLER, filler
from pandagpt_core.llm.openvino.mapped import MappedWeights
from pandagpt_core.llm.quant.linear import Linear, Precision, stacked_bias
from pandagpt_core.llm.rope import rotary

Node = Any  # openvino's nodes and outputs carry no useful types

BYTES: dict[Precision, int] = {"fp32": 4, "bf16": 2, "int8": 1}  # of a weight
SCALE_BYTES = 4
MARGIN = 1 << 20  # bytes that aligning may take
LEVELS = 127  # of an int8 weight, either side of zero
BATCH = ("embeds", "positions", "rows", "past_lens", "subsequence_begins", "block_indices", "block_indices_begins")
LONGEST = "max_context_len"
BIAS = "layer_bias"
LOGITS = "logits"


def build_graph(llm: Llama, precision: Precision, stream: Tensor | None, group: int) -> tuple[ov.Model, MappedWeights]:
    """The graph of a model that is not served yet; its layers and its head are given up one by one on the way. And
    its weights, which have to live as long as the compiled graph.

    stream: the basis [D, D] of the residual stream, where the weights were turned into another. group: neighbours that
    share a scale in int8 (`int8_layout`).

    Inputs: embeds [N, D] float32, packed sequence by sequence; positions [N]; rows [R], those whose logits are
    wanted; layer_bias [N or 1, L, D]; and of S sequences past_lens [S], subsequence_begins [S + 1], block_indices,
    block_indices_begins [S + 1], all int32; key_cache.<layer> and value_cache.<layer> [blocks, KV, 32, d].
    Output: logits [R, V] float32.
    """
    config = llm.config
    inputs = _Inputs(config)
    linears = [part.weight for part in llm.modules() if isinstance(part, Linear)]
    number = sum((weight.shape[0] + FILLER) * weight.shape[1] for weight in linears)
    weights = _GraphWeights(precision, number, group)
    rotation = [
        _reshaped(op.gather(_const(table), inputs["positions"], _const(np.int64(0))), -1, 1, 1, config.head_dim)
        for table in _rotation_tables(config)
    ]
    biases = op.split(inputs[BIAS], _const(np.int64(1)), config.layers).outputs()
    x: Node = inputs["embeds"]
    if stream is not None:
        x = op.matmul(x, _const(stream.numpy()), False, False)
    for index in range(config.layers):
        layer = llm.model.layers[index]
        assert isinstance(layer, Layer)
        bias = _reshaped(biases[index], -1, config.width)
        x = _layer(x, layer, index, config, inputs, weights, rotation, bias)
        llm.model.layers[index] = nn.Identity()
    x = _norm(op.gather(x, inputs["rows"], _const(np.int64(0))), llm.model.norm)
    logits = weights.product(x, llm.lm_head)
    del llm.lm_head
    logits.output(0).set_names({LOGITS})
    return ov.Model([logits], inputs.parameters, "llama"), weights.mapped


class _Inputs:
    """The graph's parameters by name, in the order in which they were made."""

    def __init__(self, config: LlamaConfig) -> None:
        self.parameters: list[Node] = []
        self._named: dict[str, Node] = {}
        self._add("embeds", Type.f32, -1, config.width)
        for name in BATCH[1:]:
            self._add(name, Type.i32, -1)
        self._add(LONGEST, Type.i32)
        self._add(BIAS, Type.f32, -1, config.layers, config.width)
        for index in range(config.layers):
            for kind in ("key", "value"):  # the plugin decides their shape and element type
                self._add(f"{kind}_cache.{index}", Type.dynamic, -1, -1, -1, -1)

    def __getitem__(self, name: str) -> Node:
        return self._named[name]

    def _add(self, name: str, kind: Type, *shape: int) -> None:
        parameter = op.parameter(PartialShape(list(shape)), kind)
        parameter.output(0).set_names({name})
        self.parameters.append(parameter)
        self._named[name] = parameter


class _GraphWeights:
    """Weights as constants in the precision's type, which the plugin keeps so and multiplies with."""

    def __init__(self, precision: Precision, number: int, group: int) -> None:
        """number: of weights in all products, at most. group: as in `build_graph`."""
        kinds: dict[Precision, Callable[[Tensor, MappedWeights], Node]] = {
            "fp32": _full,
            "bf16": _half,
            "int8": functools.partial(_rounded, group=group),
        }
        self._constant, self._group = kinds[precision], group
        scales = number // group * SCALE_BYTES if group else 0
        self.mapped = MappedWeights(number * BYTES[precision] + scales + MARGIN)

    def product(self, x: Node, linear: nn.Module) -> Node:
        """x [N, in] times the weights [out, in] of a linear layer, plus its bias."""
        return self._product(x, (linear,), 0)

    def joined(self, x: Node, *linears: nn.Module) -> list[Node]:
        """`product` with each of the linear layers, computed as one."""
        sizes = [len(linear.weight) for linear in linears if isinstance(linear, Linear)]
        fill = filler(sum(sizes), self._group)
        return _parts(self._product(x, linears, fill), [*sizes, fill] if fill else sizes)[: len(sizes)]

    def _product(self, x: Node, linears: Sequence[nn.Module], fill: int) -> Node:
        """The outputs of the layers one after another, and behind them as many zeros as fill."""
        layers = [linear for linear in linears if isinstance(linear, Linear)]
        weights, bias = torch.cat([layer.weight.detach() for layer in layers]).float(), stacked_bias(layers)
        weights = nn.functional.pad(weights, (0, 0, 0, fill))
        product = op.matmul(x, self._constant(weights, self.mapped), False, True)
        return product if bias is None else op.add(product, _const(nn.functional.pad(bias, (0, fill)).numpy()))


def _full(weight: Tensor, mapped: MappedWeights) -> Node:
    return op.constant(mapped.hold(weight.numpy()), shared_memory=True)


def _half(weight: Tensor, mapped: MappedWeights) -> Node:
    held = mapped.hold(weight.bfloat16().view(torch.int16).numpy())
    shared = ov.Tensor(held, ov.Shape(list(weight.shape)), ov.Type.bf16)
    return op.convert(op.constant(shared, shared_memory=True), Type.f32)


def _rounded(weight: Tensor, mapped: MappedWeights, group: int) -> Node:
    """A scale for each group of an output row, or for the row where groups do not fill it."""
    size = weight.shape[1]
    groups = weight.view(len(weight), -1, group if size % group == 0 else size)
    scale = (groups.abs().amax(dim=-1, keepdim=True) / LEVELS).clamp_min(1e-12)
    steps = (groups / scale).round().to(torch.int8)
    held_steps, held_scale = (op.constant(mapped.hold(part.numpy()), shared_memory=True) for part in (steps, scale))
    return _reshaped(op.multiply(op.convert(held_steps, Type.f32), held_scale), *weight.shape)


def _layer(
    x: Node,
    layer: Layer,
    index: int,
    config: LlamaConfig,
    inputs: _Inputs,
    weights: _GraphWeights,
    rotation: Sequence[Node],
    bias: Node,
) -> Node:
    """One decoder layer over rows [N, D]."""
    attention, mlp = layer.self_attn, layer.mlp
    assert isinstance(attention, LlamaAttention)
    assert isinstance(mlp, FeedForward)
    normed = _norm(x, layer.input_layernorm)
    q, k, v = weights.joined(normed, attention.q_proj, attention.k_proj, attention.v_proj)
    q = _rotated(q, config.heads, config, attention.q_norm, rotation)
    k = _rotated(k, config.kv_heads, config, attention.k_norm, rotation)
    attended = weights.product(_paged(q, k, v, index, config, inputs), attention.o_proj)
    x = op.add(x, op.add(attended, bias))
    gate, up = weights.joined(_norm(x, layer.post_attention_layernorm), mlp.gate_proj, mlp.up_proj)
    return op.add(x, weights.product(op.multiply(op.swish(gate), up), mlp.down_proj))


def _norm(x: Node, norm: RMSNorm) -> Node:
    mean = op.reduce_mean(op.power(x, _const(np.float32(2))), _const(np.array([-1], dtype=np.int64)), True)
    scaled = op.multiply(x, op.divide(_const(np.float32(1)), op.sqrt(op.add(mean, _const(np.float32(norm.eps))))))
    return scaled if norm.weight is None else op.multiply(_const(norm.weight.detach().float().numpy()), scaled)


def _rotation_tables(config: LlamaConfig) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin [positions, d] of the rotary angles; the first half of sin as it is (see `rotary`)."""
    cos, sin = (table[:, 0] for table in rotary(torch.arange(config.max_positions), config.head_dim, config.rope))
    half = sin[:, config.head_dim // 2 :]
    return cos.numpy(), torch.cat((half, half), dim=-1).numpy()


def _rotated(x: Node, heads: int, config: LlamaConfig, norm: RMSNorm | None, rotation: Sequence[Node]) -> Node:
    """Heads [N, H*d], each in its norm where there is one, turned by their angles; component i pairs with i + d/2."""
    half = config.head_dim // 2
    x = _reshaped(x, -1, heads, 1, config.head_dim)
    x = x if norm is None else _norm(x, norm)
    first, second = (
        op.slice(x, _shape(begin), _shape(end), _shape(1), _shape(3)) for begin, end in ((0, half), (half, 2**31 - 1))
    )
    turned = op.concat([op.multiply(second, _const(np.float32(-1))), first], -1)
    out = op.add(op.multiply(x, rotation[0]), op.multiply(turned, rotation[1]))
    return _reshaped(out, -1, heads * config.head_dim)


def _paged(q: Node, k: Node, v: Node, index: int, config: LlamaConfig, inputs: _Inputs) -> Node:
    """Write the keys and values to their blocks and attend causally within each sequence."""
    none, nothing = _const(np.zeros(0, np.int32)), _const(np.zeros(0, np.float32))
    zero = _const(np.int32(0))
    sinks = _const(np.zeros((0, 0, 0, 0), np.float32))
    arguments = [
        *(q, k, v, inputs[f"key_cache.{index}"], inputs[f"value_cache.{index}"]),
        *(inputs[name] for name in BATCH[3:]),
        *(_const(np.float32(config.head_dim**-0.5)), zero, nothing, inputs[LONGEST]),  # scale, window, slopes
        *(none, none, none, nothing),  # scores asked for; rotated blocks, by how much, and their table
        *(nothing, zero, zero, sinks),  # sparse attention: threshold, block, stride; sinks
        *(zero, none, none, none),  # eviction: start, sizes, sets and their begins
        *(none, _const(np.zeros(0, np.uint8)), none),  # token types; a mask of its own among the new, and its begins
    ]
    paged = PagedAttention([a.output(0) if isinstance(a, ov.Node) else a for a in arguments])
    about = paged.get_rt_info()
    about["num_k_heads"] = about["num_v_heads"] = config.kv_heads
    about["k_head_size"] = about["v_head_size"] = config.head_dim
    return paged.output(0)


def _parts(x: Node, sizes: Sequence[int]) -> list[Node]:
    parts: list[Node] = op.variadic_split(x, _const(np.int64(1)), _shape(*sizes)).outputs()
    return parts


def _reshaped(x: Node, *sizes: int) -> Node:
    return op.reshape(x, _shape(*sizes), False)


def _shape(*sizes: int) -> Node:
    return _const(np.array(sizes, dtype=np.int64))


def _const(value: Any) -> Node:
    return op.constant(value)
