"""The model as a worker holds it behind a pipe: nothing is named, so precision, runner and threads are its choice."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.contestants.choice import STATE, choice
from benchmarks.lib.pipe import Generate, TokenTimes, answer_jobs
from pandagpt_core.interface import SequenceRequest, ServedModel
from pandagpt_core.types import Conversation, SamplingParams, Turn
from service.settings import WorkerSettings
from service.worker import main as worker
from service.worker.huge_pages import collapse

INSTEAD = Conversation((Turn("user", ""),))  # of which the prompt takes the place


def load(settings: dict[str, Any]) -> tuple[Generate, dict[str, Any]]:
    """settings: model (a folder of the service), threads (0: the worker's choice)."""
    state = Path(os.environ[STATE])
    chosen = WorkerSettings(model=Path(settings["model"]), device="cpu", threads=settings["threads"], cache=state)
    model = worker.load_runtime(chosen)
    import torch  # not before the worker has set how its threads wait

    return lambda prompts, new: generate(model, prompts, new), {**choice(state), "threads": torch.get_num_threads()}


def generate(model: ServedModel, prompts: Sequence[Sequence[int]], new: int) -> TokenTimes:
    """All prompts at once, to the last token."""
    params = SamplingParams(max_tokens=new, temperature=0.0, ignore_eos=True)
    record = TokenTimes(len(prompts))
    for index, ids in enumerate(prompts):
        model.admit(SequenceRequest(str(index), INSTEAD, (), params, prompt=tuple(ids)))
    times = record.drain(model)
    collapse()  # between two jobs, as a worker does beside its work
    return times


if __name__ == "__main__":
    answer_jobs(load)
