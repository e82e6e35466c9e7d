"""Our engine behind a pipe."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.lib.pipe import Generate, TokenTimes, answer_jobs
from pandagpt_core.engine.config import EngineConfig
from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.llm.autotune import served
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.types import SamplingParams
from service.worker.huge_pages import collapse


def load(settings: dict[str, Any]) -> tuple[Generate, dict[str, Any]]:
    """settings: model, precision, runner, threads, max_running, prefill, context."""
    torch.set_num_threads(settings["threads"])
    path = Path(settings["model"])
    llm = served(load_llama(path), settings["precision"], runner=settings["runner"])
    config = EngineConfig(
        max_running=settings["max_running"],
        prefill_chunk=settings["prefill"],
        max_model_len=settings["context"],
        prefix_blocks=0,  # peers run without a cache of prefixes too
    )
    engine = Engine(llm, load_tokenizer(path), config)
    said = {"precision": llm.precision, "runner": llm.backend}
    return lambda prompts, new: generate(engine, llm, prompts, new), said


def generate(engine: Engine, llm: Llama, prompts: Sequence[Sequence[int]], new: int) -> TokenTimes:
    """All prompts at once, to the last token."""
    params = SamplingParams(max_tokens=new, temperature=0.0, ignore_eos=True)
    record = TokenTimes(len(prompts))
    for index, ids in enumerate(prompts):
        engine.add(EngineRequest(str(index), LLMInputs(llm.embed(ids), tuple(ids)), params))
    times = record.drain(engine)
    collapse()  # between two jobs, as a worker does beside its work
    return times


if __name__ == "__main__":
    answer_jobs(load)
