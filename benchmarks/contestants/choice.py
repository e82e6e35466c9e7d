"""The worker's choice of precision and runner, read from the folder that it keeps it in."""

from pathlib import Path

from pandagpt_core import autotune

STATE = "BENCH_STATE"  # the variable that names an empty folder for a contestant's state
WHAT = "language model"


def choice(state: Path) -> dict[str, str]:
    """{"precision": "int8", "runner": "openvino"}, from anywhere below the state folder; empty where none is kept."""
    for file in state.rglob(autotune.REPORT):
        for report in autotune.saved(file.parent):
            if report.what == WHAT:
                runner, _, precision = report.taken.partition(" ")
                return {"precision": precision, "runner": runner}
    return {}
