"""Evaluation of a model, in process or behind HTTP, on a set that a manifest describes: `pandagpt eval`.

`local` examines a model folder in process; it alone needs torch.
"""

from pandagpt_core.training.evaluation.examine import examine
from pandagpt_core.training.evaluation.manifest import Manifest, read_manifest, write_manifest
from pandagpt_core.training.evaluation.report import EvaluationReport, markdown, plot, write_report

__all__ = [
    "EvaluationReport",
    "Manifest",
    "examine",
    "markdown",
    "plot",
    "read_manifest",
    "write_manifest",
    "write_report",
]
