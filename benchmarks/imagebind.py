"""Images, video clips and sound clips a second through ImageBind-huge's towers, cut to a few blocks for a CPU.

    python -m benchmarks.imagebind [--quick] [--blocks 2] [--batches 1,8,32] [--rounds 3]

The peer is a plain implementation with torch's own MultiheadAttention, given the same weights and one clip at a time.
Ours is measured in float32 and as it is served on this processor (`encoders.precision`).
"""

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import torch

from benchmarks.lib import machine, peaks, plots, report
from benchmarks.lib.options import options, parser
from benchmarks.lib.plain_tower import PlainTower
from benchmarks.lib.procs import Watch
from benchmarks.lib.random_models import random_imagebind
from benchmarks.lib.sizes import tower_operations
from pandagpt_core.encoders.imagebind import ImageBind
from pandagpt_core.encoders.precision import autocast_towers
from pandagpt_core.encoders.sizes import HUGE, TOWER_OF, ImageBindSizes
from pandagpt_core.types import Modality

SHAPES: Mapping[Modality, tuple[int, ...]] = {
    Modality.IMAGE: (3, 224, 224),
    Modality.VIDEO: (3, 2, 224, 224),
    Modality.AUDIO: (1, 128, 204),
}
TOWERS = ("vision", "audio")
COLUMNS = (
    report.Column("what", "clips"),
    report.Column("products", "our products"),
    report.Column("batch", "batch", 0),
    report.Column("ours", "ours, clips/s", 2),
    report.Column("plain", "plain at batch 1, clips/s", 2),
    report.Column("times", "times as fast", 2),
    report.Column("share", "ours, share of fp32 matrix peak %", 0, 100),
    report.Column("difference", "largest difference", 7),
    report.Column("cosine", "least cosine", 6),
    report.Column("others", "others' cores %", 0, 100),
)
Encode = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class EncoderCase:
    """One kind of clip with the two ways to encode it."""

    modality: Modality
    products: str
    ours: Encode
    plain: Encode


def main() -> int:
    args = parser(__doc__)
    args.add_argument("--blocks", type=int, help="blocks of each tower; the published ones have 32 and 12")
    args.add_argument("--batches", default="", help="clips at once, by comma")
    given = args.parse_args()
    shared = options(given)
    torch.set_num_threads(shared.threads)
    facts = machine.facts()
    blocks = given.blocks or (1 if shared.quick else 2)
    batches = [int(part) for part in (given.batches or ("1,2" if shared.quick else "1,8,32")).split(",")]
    sizes = cut(HUGE, blocks)
    peak = peaks.matrix_peak("fp32", 512 if shared.quick else 2048)
    rounds = shared.rounds or (1 if shared.quick else 3)
    rows = [measure(work, batch, sizes, rounds, peak) for work in works(sizes) for batch in batches]
    shares = [row["others"] for row in rows if isinstance(row["others"], float)]
    notes = [
        f"{shared.threads} threads, {blocks} blocks a tower, the same random weights for both; they take turns, "
        "medians. The plain ones are float32.",
        "Largest difference: between the two embeddings of unit length, over all of the batch.",
        f"Matrix peak, float32, measured here: {peak / 1e9:,.0f} Gop/s.",
        report.quietness(shares),
    ]
    out = (shared.out or report.folder(facts)) if shared.save else None
    title = f"ImageBind-huge's towers, {blocks} blocks each"
    report.publish(report.BenchmarkReport("imagebind", title, COLUMNS, rows, notes), facts, out)
    if out is not None:
        plots.draw(out / "imagebind.png", [panel(rows)])
    return 0


def cut(sizes: ImageBindSizes, blocks: int) -> ImageBindSizes:
    """The same widths with so many blocks in the two towers that are measured."""
    less = {name: msgspec.structs.replace(sizes.tower(name), blocks=blocks) for name in TOWERS}
    return msgspec.structs.replace(sizes, **less)


def works(sizes: ImageBindSizes) -> list[EncoderCase]:
    """Each kind of clip in float32, and once more where its tower is served with rounded products."""
    model, served = (random_imagebind(sizes, TOWERS, torch.float32, "cpu") for _ in range(2))
    plain = {name: PlainTower(sizes, name).copy(model.state_dict(), name) for name in TOWERS}
    rounded = autocast_towers(served)

    def work(modality: Modality, encoder: ImageBind, products: str) -> EncoderCase:
        return EncoderCase(modality, products, lambda clips: encoder.encode(modality, clips), plain[TOWER_OF[modality]])

    exact = [work(modality, model, "fp32") for modality in SHAPES]
    return exact + [work(modality, served, "bf16") for modality in SHAPES if TOWER_OF[modality] in rounded]


def measure(work: EncoderCase, batch: int, sizes: ImageBindSizes, rounds: int, peak: float) -> report.Row:
    """One row: A B A B, after a round that does not count."""
    clips = torch.randn(batch, *SHAPES[work.modality], generator=torch.Generator().manual_seed(batch))
    ours, expected = work.ours(clips), one_by_one(work.plain, clips)
    difference = (ours - expected).abs().max().item()
    cosine = torch.cosine_similarity(ours, expected).min().item()
    watch = Watch(list, machine.cores())
    times: Sequence[tuple[float, float]] = [
        (seconds(lambda: work.ours(clips)), seconds(lambda: one_by_one(work.plain, clips))) for _ in range(rounds)
    ]
    rate, plain = (batch / statistics.median(taken) for taken in zip(*times, strict=True))
    tower = TOWER_OF[work.modality]
    return {
        "what": str(work.modality),
        "products": work.products,
        "batch": batch,
        "ours": rate,
        "plain": plain,
        "times": rate / plain,
        "share": rate * tower_operations(sizes.tower(tower), tower) / peak,
        "difference": difference,
        "cosine": cosine,
        "others": watch.others(),
    }


def one_by_one(encode: Encode, clips: torch.Tensor) -> torch.Tensor:
    return torch.cat([encode(clip[None]) for clip in clips])


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def panel(rows: Sequence[report.Row]) -> plots.Panel:
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for who in ("ours", "plain"):
            whose = f"ours {row['products']}" if who == "ours" else who
            lines.setdefault(f"{row['what']}, {whose}", []).append((float(row["batch"] or 0), float(row[who] or 0)))
    return plots.Panel("towers", "clips at once", "clips/s", lines, doubling=True)


if __name__ == "__main__":
    sys.exit(main())
