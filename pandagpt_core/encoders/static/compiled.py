"""A tower compiled by OpenVINO for batches of certain sizes."""

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino as ov
import torch
from torch import Tensor, nn

from pandagpt_core.encoders.static.graphs import Graph
from pandagpt_core.encoders.static.tower import Outputs, joined_outputs
from pandagpt_core.llm.openvino.core import core


class Compiler:
    """Compiles a tower's graph once for each size of batch."""

    def __init__(self, original: nn.Module, graph: Graph) -> None:
        self._original, self._graph = original, graph
        self._compiled: dict[int, Any] = {}

    def at(self, batch: int) -> "CompiledTower":
        """Raises RuntimeError where OpenVINO does not compile it."""
        sizes = sorted({1, batch})
        for size in sizes:
            if size not in self._compiled:
                self._compiled[size] = _compile(self._graph, size)
        self._graph.leave_memory()  # a compiled tower has weights of its own
        return CompiledTower(self._original, self._graph, {size: self._compiled[size] for size in sizes})


class CompiledTower(nn.Module):
    """Clips of the compiled shape run in batches of the largest size, the rest of them one by one; others by torch.

    Lanes of several modalities may share a tower: one run at a time, so that its working memory is held once.
    """

    def __init__(self, original: nn.Module, graph: Graph, compiled: Mapping[int, Any]) -> None:
        """graph: the source of `compiled`; each run reads some of its weights. compiled: by the size of the batch; 1 is
        among them."""
        super().__init__()
        self.original, self.batch = original, max(compiled)
        self._graph, self._compiled = graph, compiled
        self._requests = {size: one.create_infer_request() for size, one in compiled.items()}
        self._shape = tuple(compiled[1].input(0).shape)[1:]
        self._lock = threading.Lock()

    def forward(self, clips: Tensor) -> Outputs:
        if tuple(clips.shape[1:]) != self._shape:
            outputs: Outputs = self.original(clips)
            return outputs
        whole = len(clips) // self.batch
        sizes = [self.batch] * whole + [1] * (len(clips) - whole * self.batch)
        made = joined_outputs([self._run(chunk) for chunk in torch.split(clips, sizes)])
        self._give_back()
        return made

    def _run(self, chunk: Tensor) -> Outputs:
        request = self._requests[len(chunk)]
        given = ov.Tensor(chunk.float().contiguous().numpy(), shared_memory=True)
        with self._lock:
            # In this thread: handing over to OpenVINO's costs more where others want the cores.
            request.infer({0: given}, share_outputs=True)
            # Copies: the next run writes to the same place.
            made = tuple(torch.from_numpy(np.array(tensor.data)) for tensor in request.output_tensors)
        return made if len(made) > 1 else made[0]

    def _give_back(self) -> None:
        """Free the layers' working memory; costs a tenth of a millisecond, and some at the next run."""
        with self._lock:
            for compiled in self._compiled.values():
                compiled.release_memory()


def _compile(graph: Graph, batch: int) -> Any:
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,  # workers beside one another would all sit on the first cores
        "PERFORMANCE_HINT": "LATENCY",
    }
    return core().compile_model(graph.model(batch), "CPU", settings)
