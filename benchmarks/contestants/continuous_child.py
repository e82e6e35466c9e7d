"""transformers' continuous batching behind a pipe."""

from collections.abc import Sequence
from typing import Any

import torch
import transformers
from transformers.generation.configuration_utils import ContinuousBatchingConfig

from benchmarks.contestants.generate_child import DTYPES
from benchmarks.lib.pipe import Generate, TokenTimes, answer_jobs

BATCH_TOKENS = 512  # its own default is made for a GPU's memory
BLOCKS = 256  # of 256 tokens each: room for 128 requests of 512 tokens
WAIT_S = 600.0


def load(settings: dict[str, Any]) -> tuple[Generate, dict[str, Any]]:
    """settings: model, precision, threads."""
    torch.set_num_threads(settings["threads"])
    dtype = DTYPES[settings["precision"]]
    library: Any = transformers  # its calls are untyped
    model = library.AutoModelForCausalLM.from_pretrained(settings["model"], dtype=dtype, attn_implementation="sdpa")
    chosen = library.GenerationConfig(max_new_tokens=128, do_sample=False, eos_token_id=-1)
    limits = ContinuousBatchingConfig(
        num_blocks=BLOCKS, max_batch_tokens=BATCH_TOKENS, allow_block_sharing=False, use_cuda_graph=False
    )
    manager = model.eval().init_continuous_batching(chosen, limits)
    manager.start()
    return lambda prompts, new: generate(manager, prompts, new), {"version": transformers.__version__}


def generate(manager: Any, prompts: Sequence[Sequence[int]], new: int) -> TokenTimes:
    record = TokenTimes(len(prompts))
    waiting = {
        manager.add_request(list(ids), max_new_tokens=new, streaming=True, eos_token_id=-1): index
        for index, ids in enumerate(prompts)
    }
    while waiting:
        result = manager.get_result(timeout=WAIT_S)
        if result is None or result.error:
            raise RuntimeError(result.error if result else "no result")
        index = waiting[result.request_id]
        record.add(index, result.generated_tokens[len(record.ids[index]) :])
        if result.is_finished():
            del waiting[result.request_id]
    return record


if __name__ == "__main__":
    answer_jobs(load)
