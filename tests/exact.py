"""Committed models as their stored weights compute them, for tests of what a model answers."""

from pathlib import Path

from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.runtime import Runtime


def exact_runtime(folder: Path, max_sequences: int = 8, max_model_len: int = 0) -> Runtime:
    """By torch in float32, so that the answers are the same whatever else the machine does.

    By "auto" the fastest of several precisions is taken, and a load on the machine may change which one that is. Their
    answers differ where two tokens lie within half a nat of one another.
    """
    return load_model(
        folder,
        RuntimeOptions(dtype="float32", runner="torch", max_sequences=max_sequences, max_model_len=max_model_len),
    )
