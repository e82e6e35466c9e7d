"""The report of the GPU benchmarks where there is no GPU."""

from benchmarks.lib import machine, report

NO_DEVICE = "needs a CUDA device, and torch sees none here"


def report_nothing(name: str, title: str, reason: str) -> int:
    """Print a report without rows; no file is written. 0: a machine without a GPU is no failure."""
    report.publish(report.BenchmarkReport(name, title, (), (), absent={name: reason}), machine.facts(), None)
    return 0
