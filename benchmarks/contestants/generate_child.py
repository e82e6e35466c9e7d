"""transformers' batched `generate` behind a pipe: all rows step together, as it is made to."""

from collections.abc import Sequence
from typing import Any

import torch
import transformers
from transformers.generation.streamers import BaseStreamer

from benchmarks.lib.pipe import Generate, TokenTimes, answer_jobs

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Stamps(BaseStreamer):
    """Takes each step's tokens, one a row; the prompt comes first and is dropped."""

    def __init__(self, record: TokenTimes) -> None:
        self._record, self._steps = record, 0

    def put(self, value: torch.Tensor) -> None:
        if self._steps:
            for row, token in enumerate(value.flatten().tolist()):
                self._record.add(row, [token])
        self._steps += 1

    def end(self) -> None:
        pass


def load(settings: dict[str, Any]) -> tuple[Generate, dict[str, Any]]:
    """settings: model, precision, threads."""
    torch.set_num_threads(settings["threads"])
    library: Any = transformers  # its calls are untyped
    model = library.AutoModelForCausalLM.from_pretrained(settings["model"], dtype=DTYPES[settings["precision"]])
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return lambda prompts, new: generate(model.eval(), prompts, new), {"version": transformers.__version__}


@torch.inference_mode()
def generate(model: Any, prompts: Sequence[Sequence[int]], new: int) -> TokenTimes:
    record = TokenTimes(len(prompts))
    ids = torch.tensor(prompts)  # all of one length
    mask = torch.ones_like(ids)
    model.generate(ids, attention_mask=mask, max_new_tokens=new, do_sample=False, streamer=Stamps(record))
    return record


if __name__ == "__main__":
    answer_jobs(load)
