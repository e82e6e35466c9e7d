"""Published benchmarks about pictures, by their own protocols and annotation formats: `pandagpt eval --task`."""

from pandagpt_core.training.evaluation.benchmarks.base import (
    Benchmark,
    BenchmarkOutcome,
    Files,
    Question,
    run_benchmark,
)
from pandagpt_core.training.evaluation.benchmarks.registry import BENCHMARKS

__all__ = ["BENCHMARKS", "Benchmark", "BenchmarkOutcome", "Files", "Question", "run_benchmark"]
