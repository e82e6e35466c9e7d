"""OpenVINO GenAI's continuous batching behind a pipe; it reads the GGUF file itself. Runs in its own environment."""

import importlib
from collections.abc import Sequence
from typing import Any

from benchmarks.lib.pipe import Generate, TokenTimes, answer_jobs


def load(settings: dict[str, Any]) -> tuple[Generate, dict[str, Any]]:
    """settings: model, threads, max_running, properties (of the compiled model)."""
    genai, numpy = importlib.import_module("openvino_genai"), importlib.import_module("numpy")
    limits = genai.SchedulerConfig()
    limits.cache_size = 2  # GB
    limits.max_num_seqs = settings["max_running"]
    limits.enable_prefix_caching = False
    properties = {"INFERENCE_NUM_THREADS": settings["threads"], **settings["properties"]}
    pipeline = genai.ContinuousBatchingPipeline(settings["model"], limits, "CPU", properties)
    tensor = importlib.import_module("openvino").Tensor

    def generate(prompts: Sequence[Sequence[int]], new: int) -> TokenTimes:
        config = genai.GenerationConfig(max_new_tokens=new, ignore_eos=True, do_sample=False, apply_chat_template=False)
        record = TokenTimes(len(prompts))
        handles = [
            pipeline.add_request(index, tensor(numpy.array([ids], dtype=numpy.int64)), config)
            for index, ids in enumerate(prompts)
        ]
        while pipeline.has_non_finished_requests():
            pipeline.step()
            for index, handle in enumerate(handles):
                while handle.can_read():
                    for output in handle.read().values():
                        record.add(index, list(output.generated_ids))
        return record

    return generate, {"version": genai.get_version()}


if __name__ == "__main__":
    answer_jobs(load)
