"""Pictures of results: one line or bar group a contestant. matplotlib is optional; without it there is no picture."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """One set of axes: points by name; `level` is a dashed line with its name."""

    title: str
    x: str
    y: str
    lines: Mapping[str, Points]
    level: tuple[str, float] | None = None
    doubling: bool = False  # of the x axis


def draw(path: Path, panels: Sequence[Panel]) -> None:
    """Write a PNG with the panels beside one another. Nothing where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None or not panels:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4 * len(panels), 4.8), layout="constrained")
    for index, panel in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), index + 1)
        for style, (name, points) in enumerate(panel.lines.items()):
            xs, ys = zip(*sorted(points), strict=True)
            axes.plot(xs, ys, marker="os^Dv*Px"[style % 8], label=name)
        if panel.level is not None:
            axes.axhline(panel.level[1], linestyle="--", color="grey", label=panel.level[0])
        if panel.doubling:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        if panel.lines:
            axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
