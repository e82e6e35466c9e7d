"""onnxruntime-genai's generator behind a pipe: all sequences of a job in one batch. Runs in its own environment."""

import importlib
import json
from collections.abc import Sequence
from typing import Any

from benchmarks.lib.pipe import Generate, TokenTimes, answer_jobs


def load(settings: dict[str, Any]) -> tuple[Generate, dict[str, Any]]:
    """settings: model, threads."""
    library, numpy = importlib.import_module("onnxruntime_genai"), importlib.import_module("numpy")
    config = library.Config(settings["model"])
    session = {"intra_op_num_threads": settings["threads"]}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
    model = library.Model(config)

    def answer(prompts: Sequence[Sequence[int]], new: int) -> TokenTimes:
        rows = numpy.array(prompts, dtype=numpy.int32)  # all of one length
        return generate(library, model, rows, new)

    return answer, {"version": library.__version__}


def generate(library: Any, model: Any, rows: Any, new: int) -> TokenTimes:
    """rows: [sequences, prompt] token ids. The cache has room for prompt and answer; `min_length`: no end is chosen."""
    count, length = rows.shape
    record = TokenTimes(count)
    params = library.GeneratorParams(model)
    params.set_search_options(batch_size=count, max_length=length + new, min_length=length + new, do_sample=False)
    generator = library.Generator(model, params)
    generator.append_tokens(rows)
    while not generator.is_done():
        generator.generate_next_token()
        for index, token in enumerate(generator.get_next_tokens()):
            record.add(index, [int(token)])
    return record


if __name__ == "__main__":
    answer_jobs(load)
