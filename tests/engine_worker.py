"""A worker with the real engine over a tiny LLaMA of random weights: masks, sampling and resuming are real.

Its prompt is the conversation's text, byte by byte. `python -m tests.engine_worker` runs it as a process to kill.
"""

import time
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from pandagpt_core.engine.config import EngineConfig
from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.interface import Admitted, EngineStats, SequenceRequest
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.torch_backend import serve
from pandagpt_core.types import ModelInfo, TokenOutput
from tests import fakes
from tests.engine.conftest import CONFIG, ByteTokenizer

LONGEST = 1024
ENGINE_INFO: ModelInfo = replace(fakes.FAKE_INFO, id="engine", options=(), max_model_len=LONGEST)
_CONFIG: LlamaConfig = replace(CONFIG, max_positions=LONGEST)


@dataclass
class EngineRuntime(fakes.FakeRuntime):
    """`step_delay` seconds are added to each step, so that an answer lasts until its worker is killed."""

    info: ModelInfo = ENGINE_INFO
    _made: tuple[Any, Engine] = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        torch.set_num_threads(1)
        llama = Llama(_CONFIG)
        for parameter in llama.parameters():
            torch.nn.init.normal_(parameter, mean=1.0 if parameter.dim() == 1 else 0.0, std=0.25)
        served = serve(llama)
        self._made = served, Engine(served, ByteTokenizer(), EngineConfig(max_running=32, max_model_len=LONGEST))

    def admit(self, request: SequenceRequest) -> Admitted:
        ids = tuple("\n".join(turn.text for turn in request.conversation.turns).encode())
        llama, engine = self._made
        inputs = LLMInputs(llama.embed(ids), ids, None)
        return engine.add(EngineRequest(request.id, inputs, request.params, request.resume, tenant=request.tenant))

    def step(self) -> list[TokenOutput]:
        time.sleep(self.step_delay)
        return self._made[1].step()

    def abort(self, sequence_id: str) -> None:
        self._made[1].abort(sequence_id)

    @property
    def has_work(self) -> bool:
        return self._made[1].has_work

    def stats(self) -> EngineStats:
        return self._made[1].stats()


if __name__ == "__main__":
    fakes.main(EngineRuntime)
