"""ImageBind-huge with random weights on a CUDA device: clips a second against the measured matrix peak.

    python -m benchmarks.gpu.imagebind [--quick] [--batches 1,8,32,128] [--precisions fp32,bf16,served]

Without a device it prints that and measures nothing.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch

from benchmarks.gpu.device import NO_DEVICE, report_nothing
from benchmarks.imagebind import SHAPES, TOWERS
from benchmarks.lib import machine, peaks, plots, report
from benchmarks.lib.options import options, parser
from benchmarks.lib.random_models import random_imagebind
from benchmarks.lib.sizes import tower_operations
from pandagpt_core.encoders.imagebind import ImageBind
from pandagpt_core.encoders.precision import autocast_towers
from pandagpt_core.encoders.sizes import HUGE, TOWER_OF, ImageBindSizes
from pandagpt_core.types import Modality

# Precision of the towers, and the precision of products whose peak is theirs.
PRECISIONS: Mapping[str, str] = MappingProxyType({"fp32": "fp32", "bf16": "bf16", "served": "bf16"})
SERVED = "served: as a worker has them, loaded in float32 and rounded where the check at load allows it."
COLUMNS = (
    report.Column("what", "clips"),
    report.Column("precision", "precision"),
    report.Column("batch", "batch", 0),
    report.Column("clips_per_s", "clips/s"),
    report.Column("most", "roofline clips/s"),
    report.Column("share", "share %", 0, 100),
)


def main() -> int:
    args = parser(__doc__)
    args.add_argument("--batches", default="", help="clips at once, by comma")
    args.add_argument("--precisions", default=",".join(PRECISIONS), help="by comma")
    given = args.parse_args()
    shared = options(given)
    if not torch.cuda.is_available():
        return report_nothing("gpu-imagebind", "ImageBind-huge on a CUDA device", NO_DEVICE)
    facts = machine.facts()
    batches = [int(part) for part in (given.batches or ("1,8" if shared.quick else "1,8,32,128")).split(",")]
    rows: list[report.Row] = []
    notes = ["Random weights, all blocks. Roofline: measured matrix peak over the operations of a clip.", SERVED]
    for precision in given.precisions.split(","):
        products = PRECISIONS[precision]
        peak = peaks.matrix_peak(products, 8192, "cuda")
        notes.append(f"Matrix peak, {precision}, measured: {peak / 1e12:,.1f} Top/s.")
        rows += measure(HUGE, precision, batches, peak, "cuda")
    out = (shared.out or report.folder(facts)) if shared.save else None
    title = "ImageBind-huge on a CUDA device"
    report.publish(report.BenchmarkReport("gpu-imagebind", title, COLUMNS, rows, notes), facts, out)
    if out is not None:
        plots.draw(out / "gpu-imagebind.png", [panel(rows)])
    return 0


def measure(
    sizes: ImageBindSizes, precision: str, batches: Sequence[int], peak: float, device: str, seconds: float = 2.0
) -> list[report.Row]:
    """A row a kind of clip and a batch."""
    model = made(sizes, precision, device)
    return [
        row(model, sizes, modality, precision, batch, peak, device, seconds) for modality in SHAPES for batch in batches
    ]


def made(
    sizes: ImageBindSizes, precision: str, device: str, choose: Callable[[ImageBind], object] = autocast_towers
) -> ImageBind:
    """All of it in one precision, or as it is served where the precision is left to the device."""
    model = random_imagebind(sizes, TOWERS, peaks.DTYPES.get(precision, torch.float32), device)
    if precision == "served":
        choose(model)
    return model


def row(
    model: ImageBind,
    sizes: ImageBindSizes,
    modality: Modality,
    precision: str,
    batch: int,
    peak: float,
    device: str,
    seconds: float,
) -> report.Row:
    clips = torch.randn(batch, *SHAPES[modality], device=device)
    rate = batch / peaks.fastest(lambda: model.encode(modality, clips), device, seconds)
    tower = TOWER_OF[modality]
    most = peak / tower_operations(sizes.tower(tower), tower)
    said: dict[str, report.Value] = {"what": str(modality), "precision": precision, "batch": batch}
    return {**said, "clips_per_s": rate, "most": most, "share": rate / most}


def panel(rows: Sequence[report.Row]) -> plots.Panel:
    lines: dict[str, list[tuple[float, float]]] = {}
    for line in rows:
        name = f"{line['what']}, {line['precision']}"
        lines.setdefault(name, []).append((float(line["batch"] or 0), float(line["clips_per_s"] or 0)))
    return plots.Panel("ImageBind-huge", "clips at once", "clips/s", lines, doubling=True)


if __name__ == "__main__":
    sys.exit(main())
