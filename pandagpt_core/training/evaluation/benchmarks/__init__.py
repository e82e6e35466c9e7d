"""Published benchmarks about pictures, by their own protocols and annotation formats: `pandagpt eval --task`."""

from collections.abc import Mapping
from types import MappingProxyType

from pandagpt_core.training.evaluation.benchmarks.answers import (
    read_gqa,
    read_hateful_memes,
    read_vqa,
    read_vsr,
    score_gqa,
    score_vqa,
    score_yes_no,
)
from pandagpt_core.training.evaluation.benchmarks.base import (
    Benchmark,
    BenchmarkOutcome,
    Files,
    Question,
    run_benchmark,
)
from pandagpt_core.training.evaluation.benchmarks.captions import read_coco_captions, read_flickr30k, score_captions
from pandagpt_core.training.evaluation.benchmarks.composition import read_composition, score_composition
from pandagpt_core.training.evaluation.benchmarks.pope import read_pope, score_pope
from pandagpt_core.training.evaluation.benchmarks.refcoco import read_refcoco, score_refcoco

__all__ = ["BENCHMARKS", "Benchmark", "BenchmarkOutcome", "Files", "Question", "run_benchmark"]

# By the names that `pandagpt eval --task` takes.
BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {
        one.name: one
        for one in (
            Benchmark("refcoco", read_refcoco, score_refcoco),
            Benchmark("vqa", read_vqa, score_vqa),
            Benchmark("gqa", read_gqa, score_gqa),
            Benchmark("vsr", read_vsr, score_yes_no),
            Benchmark("hm", read_hateful_memes, score_yes_no),
            Benchmark("caption", read_coco_captions, score_captions, tokens=60),
            Benchmark("flickr", read_flickr30k, score_captions, tokens=60),
            Benchmark("pope", read_pope, score_pope),
            Benchmark("composition", read_composition, score_composition, tokens=40),
        )
    }
)
