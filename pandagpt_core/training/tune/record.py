"""The record of a run: a line of JSON for every step, and a picture of the loss."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOG = "log.jsonl"
PLOT = "loss.png"

ReportLine = Callable[[str], object]  # shows a line about a run


class TrainingRecord:
    """The log of one run. Going on from a step forgets what an earlier attempt wrote after it."""

    def __init__(self, folder: Path, from_step: int = 0) -> None:
        self._path = folder / LOG
        kept = [line for line in read_log(folder) if line["step"] <= from_step] if from_step else []
        self._path.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def __call__(self, step: int, **fields: Any) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **fields}) + "\n")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Lines of the log; a last one that was cut off in the writing is left out."""
    path = folder / LOG
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def plot_loss(folder: Path, of: str = "loss on answers, nats a token") -> Path:
    """Draw the log into a file beside it; `of` names its losses."""
    loss_figure(read_log(folder), of).savefig(folder / PLOT, dpi=120)
    return folder / PLOT


def loss_figure(log: Sequence[dict[str, Any]], of: str) -> "Figure":
    """The losses, each and smoothed, and the learning rate over the steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # takes time to import
    from matplotlib.figure import Figure

    steps, losses = [line["step"] for line in log], [line["loss"] for line in log]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="step", ylabel=of)
    axes.plot(steps, losses, color="tab:blue", alpha=0.3, label="of each step")
    axes.plot(steps, smoothed(losses), color="tab:blue", label="smoothed")
    rate = axes.twinx()
    rate.plot(steps, [line["lr"] for line in log], color="tab:gray", linewidth=0.8, label="learning rate")
    rate.set_ylabel("learning rate")
    axes.legend(loc="upper right")
    return figure


def smoothed(values: Sequence[float], window: int = 50) -> list[float]:
    """Running means over at most `window` values up to each."""
    return [sum(values[max(0, at + 1 - window) : at + 1]) / min(at + 1, window) for at in range(len(values))]
