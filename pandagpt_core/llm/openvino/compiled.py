"""A LLaMA compiled by OpenVINO, and sessions that run it over caches of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

import numpy as np
import openvino as ov
import torch
from torch import Tensor

from pandagpt_core.llm.attention.pages import zeros
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.openvino.core import core
from pandagpt_core.llm.openvino.graph import BIAS, LOGITS, LONGEST, MARGIN, build_graph
from pandagpt_core.llm.openvino.int8_layout import group_size
from pandagpt_core.llm.openvino.mapped import MappedWeights
from pandagpt_core.llm.openvino.row_numbers import STEPS, padded
from pandagpt_core.llm.quant.linear import Precision
from pandagpt_core.llm.rotation import rotate_weights, spreading

CACHE: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.float32}
TYPES = {torch.float32: "f32", torch.bfloat16: "bf16"}


@dataclass(frozen=True, slots=True)
class BlockChunk:
    """`count` new tokens of one sequence from position `start` on, whose blocks are `blocks`. `scored`:
    whether those after its last token are wanted."""

    start: int
    count: int
    blocks: Sequence[int]
    scored: bool = True

    @property
    def end(self) -> int:
        return self.start + self.count


class OpenVinoLlama:
    """A Llama that serves by OpenVINO. `block` is the number of tokens in a block of its cache; the plugin chooses."""

    backend: Literal["openvino"] = "openvino"

    def __init__(self, llm: Llama, precision: Precision, stream: Tensor | None = None) -> None:
        """Takes the layers and the head out of the model; its embedding table stays.

        stream: the basis [D, D] of the residual stream of rotated weights. Raises RuntimeError where OpenVINO cannot
        build or compile the graph.
        """
        self.config: LlamaConfig = llm.config
        self.precision: Precision = precision
        self.cache_dtype = CACHE[precision]
        self._table, self._stream = llm, stream
        group = group_size() if precision == "int8" else 0
        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "KV_CACHE_PRECISION": TYPES[self.cache_dtype],
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": group,
            "ENABLE_CPU_PINNING": False,  # workers beside one another would all sit on the first cores
            "PERFORMANCE_HINT": "LATENCY",
        }
        graph, self._weights = build_graph(llm, precision, stream, group)
        self._rows = map_table(llm)
        self._model, self._runs = core().compile_model(graph, "CPU", settings), 0
        shape = self._model.input("key_cache.0").get_partial_shape()
        self.block = shape[2].get_length()
        if shape[3].get_length() != self.config.head_dim:
            raise RuntimeError(f"OpenVINO keeps keys as {shape}, which is not the layout that is asked for")

    @property
    def device(self) -> torch.device:
        return self._table.device

    def embed(self, ids: Tensor | Sequence[int]) -> Tensor:
        return self._table.embed(ids)

    def session(self, blocks: int) -> "Session":
        """Room for so many blocks."""
        return Session(self, self._model.create_infer_request(), blocks)

    def chunked(self, length: int) -> "CompiledChunks":
        return CompiledChunks(self.session(-(-length // self.block)))

    def __call__(self, embeds: Tensor) -> Tensor:
        """[B, T, D] whole sequences to [B, T, V], without a cache; as `Llama.forward`."""
        each = -(-embeds.shape[1] // self.block)
        session = self.session(len(embeds) * each)
        pieces = [BlockChunk(0, embeds.shape[1], range(n * each, (n + 1) * each)) for n in range(len(embeds))]
        return session.run(embeds.flatten(0, 1), pieces, every=True).view(*embeds.shape[:2], -1)

    def ran(self) -> None:
        """A run is done, at whose kind of shape weights may have been packed. Seldom more often than not."""
        self._runs += 1
        if self._runs & (self._runs - 1) == 0:
            self._weights.leave_memory()

    def turned(self, bias: Tensor) -> Tensor:
        """Vectors [..., D] in the basis that the residual stream has inside."""
        return bias if self._stream is None else bias @ self._stream


def map_table(llm: Llama) -> MappedWeights:
    """Let the embedding table lie in a file: a prompt reads few of its rows, and a small model's table is large."""
    table = llm.model.embed_tokens.weight
    room = MappedWeights(table.nbytes + MARGIN)
    llm.model.embed_tokens.weight = torch.nn.Parameter(
        torch.from_numpy(room.hold(table.detach().float().numpy())), requires_grad=False
    )
    room.leave_memory()
    return room


class Session:
    """`keys` and `values` [L, blocks, KV, block, d], which every run reads and writes; zeros at first.

    Behind the blocks that were asked for is room for the rows that fill a step up (`padded`).
    """

    def __init__(self, compiled: OpenVinoLlama, request: Any, blocks: int) -> None:
        config, self.blocks = compiled.config, blocks
        most = max(step for _, step in STEPS) - 1
        self._room = range(blocks, blocks + -(-most // compiled.block))
        sizes = (config.layers, self._room.stop, config.kv_heads, compiled.block, config.head_dim)
        self.block = compiled.block
        self.keys, self.values = (zeros(sizes, compiled.cache_dtype, torch.device("cpu")) for _ in range(2))
        self._request, self._turned, self._ran = request, compiled.turned, compiled.ran
        self._no_bias = np.zeros((1, config.layers, config.width), np.float32)
        self._inputs: dict[str, np.ndarray] = {}  # the request reads them where they are
        for kind, cache in (("key", self.keys), ("value", self.values)):
            for index, layer in enumerate(cache):
                request.set_tensor(f"{kind}_cache.{index}", _shared(layer))

    def run(
        self, embeds: Tensor, pieces: Sequence[BlockChunk], bias: Tensor | None = None, *, every: bool = False
    ) -> Tensor:
        """[R, V] float32 logits after the last token of each piece that wants them, or after `every` token.

        embeds: [N, D], the pieces' tokens one after another. bias: [N, L, D] or None.
        """
        begins = _begins(piece.count for piece in pieces)
        rows = range(begins[-1]) if every else [end - 1 for end, p in zip(begins[1:], pieces, strict=True) if p.scored]
        if filler := padded(begins[-1]) - begins[-1]:
            pieces, begins = [*pieces, BlockChunk(0, filler, self._room, scored=False)], [*begins, begins[-1] + filler]
            embeds, bias = _filled(embeds, filler), None if bias is None else _filled(bias, filler)
        tables = [piece.blocks[: -(-piece.end // self.block)] for piece in pieces]
        batch: dict[str, Any] = {
            "positions": [position for piece in pieces for position in range(piece.start, piece.end)],
            "rows": rows,
            "past_lens": [piece.start for piece in pieces],
            "subsequence_begins": begins,
            "block_indices": [block for table in tables for block in table],
            "block_indices_begins": _begins(len(table) for table in tables),
            LONGEST: max(piece.end for piece in pieces),
        }
        for name, values in batch.items():
            self._put(name, np.asarray(values, dtype=np.int32))
        self._put("embeds", embeds.numpy())
        self._put(BIAS, self._no_bias if bias is None else self._turned(bias).numpy())
        # In this thread: handing over to OpenVINO's and back costs 10 ms and more where others use the processor.
        self._request.infer({}, share_outputs=True)
        self._ran()
        # A copy: the next run writes to the same place.
        return torch.from_numpy(self._request.get_tensor(LOGITS).data.copy())

    def _put(self, name: str, values: np.ndarray) -> None:
        """An input of the next run. Setting one of another shape than before takes time."""
        held = self._inputs.get(name)
        if held is None or held.shape != values.shape:
            held = self._inputs[name] = np.empty_like(values, order="C")
            self._request.set_tensor(name, ov.Tensor(held, shared_memory=True))
        held[...] = values


class CompiledChunks:
    """`llm.language_model.ChunkedForward` over all blocks of a session of its own."""

    def __init__(self, session: Session) -> None:
        self._session, self._start = session, 0

    def __call__(self, embeds: Tensor) -> Tensor:
        piece = BlockChunk(self._start, len(embeds), range(self._session.blocks))
        self._start = piece.end
        return self._session.run(embeds, [piece], every=True)


@torch.no_grad()
def compile_for_cpu(llm: Llama, precision: Precision = "fp32") -> OpenVinoLlama:
    """As `torch_backend.serve`: layers and head become one compiled graph, int8 in a rotated basis.

    Raises RuntimeError where OpenVINO does not compute it here; then the model is no longer whole.
    """
    llm.requires_grad_(False).eval()
    basis = spreading(llm.config.width, llm.config.head_dim) if precision == "int8" else None
    if basis is not None:
        rotate_weights(llm, basis)
    return OpenVinoLlama(llm, precision, None if basis is None else basis.stream)


def _filled(rows: Tensor, count: int) -> Tensor:
    return torch.cat((rows, rows.new_zeros(count, *rows.shape[1:])))


def _begins(counts: Any) -> list[int]:
    return [0, *accumulate(counts)]


def _shared(tensor: Tensor) -> ov.Tensor:
    """An OpenVINO tensor over the same memory; the caller keeps the torch tensor alive."""
    if tensor.dtype == torch.bfloat16:
        return ov.Tensor(tensor.view(torch.int16).numpy(), ov.Shape(list(tensor.shape)), ov.Type.bf16)
    return ov.Tensor(tensor.numpy(), shared_memory=True)
