"""CTranslate2's generator behind a pipe: all sequences of a job in one batch. Runs in its own environment."""

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.lib.pipe import Generate, TokenTimes, answer_jobs


def load(settings: dict[str, Any]) -> tuple[Generate, dict[str, Any]]:
    """settings: model, precision, threads."""
    library = importlib.import_module("ctranslate2")
    model = Path(settings["model"])
    generator = library.Generator(
        str(model),
        device="cpu",
        compute_type=settings["precision"],
        intra_threads=settings["threads"],
        inter_threads=1,
    )
    vocabulary = json.loads((model / "vocabulary.json").read_text(encoding="utf-8"))
    facts = {"version": library.__version__, "computes": generator.compute_type}
    return lambda prompts, new: generate(generator, vocabulary, prompts, new), facts


def generate(generator: Any, vocabulary: Sequence[str], prompts: Sequence[Sequence[int]], new: int) -> TokenTimes:
    """ctranslate2 reads tokens by their text, and reports each new one as it comes. `min_length`: no end is chosen."""
    record = TokenTimes(len(prompts))

    def came(result: Any) -> bool:
        record.add(result.batch_id, [result.token_id])
        return False  # go on

    generator.generate_batch(
        [[vocabulary[token] for token in ids] for ids in prompts],
        max_length=new,
        min_length=new,
        include_prompt_in_result=False,
        sampling_topk=1,
        callback=came,
    )
    return record


if __name__ == "__main__":
    answer_jobs(load)
