"""The cache of image features: built from a folder of pictures in bounded memory, and searched.

    python -m benchmarks.visual_cache [--quick] [--pictures N] [--rows N,N]

Built: the reading, decoding and writing of `pandagpt cache build` with a stand-in for the tower, so that memory and the
rest of the work are seen; the pictures are names of one file. Searched: the exact search of one feature among rows of
the published width, float32, mapped from a file as in service.
"""

import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmarks.lib import machine, report
from benchmarks.lib.options import options, parser
from pandagpt_core.checkpoints import (
    EncoderSpec,
    LLMSpec,
    PandaGPTFolder,
    ProjectionSpec,
    read_tensors,
    write_model_folder,
    write_pieces,
)
from pandagpt_core.convert.cache.build import build_cache
from pandagpt_core.types import Modality
from pandagpt_core.visual_cache import VisualCache

WIDTH = 1024  # of ImageBind's features
PICTURES, QUICK_PICTURES = 20_000, 200
ROWS, QUICK_ROWS = (10_000, 100_000, 1_000_000), (1_000,)
QUERIES, SIZE = 5, 10
BLOCK = 4096  # rows that are written at once
COLUMNS = (
    report.Column("what", "what"),
    report.Column("rows", "rows", 0),
    report.Column("rows_mib", "MiB of rows", 0),
    report.Column("seconds", "seconds", 3),
    report.Column("grown_mib", "MiB more of the process's own", 1),
)


def main() -> int:
    args = parser(__doc__)
    args.add_argument("--pictures", type=int, help="that a cache is built from")
    args.add_argument("--rows", default="", help="of caches that are searched, by comma")
    given = args.parse_args()
    shared = options(given)
    torch.set_num_threads(shared.threads)
    pictures = given.pictures or (QUICK_PICTURES if shared.quick else PICTURES)
    sizes = tuple(map(int, filter(None, given.rows.split(",")))) or (QUICK_ROWS if shared.quick else ROWS)
    shared.cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=shared.cache) as scratch:
        rows = [built(Path(scratch), pictures), *searched(Path(scratch), sizes)]
    facts = machine.facts()
    notes = [
        "Built: all but the tower, from the list of names to the last byte. Searched: one query's "
        f"{SIZE} nearest, the median of {QUERIES} after one that does not count. What is mapped from files is not the "
        "process's own."
    ]
    out = (shared.out or report.folder(facts)) if shared.save else None
    title = "The cache of image features"
    report.publish(report.BenchmarkReport("visual_cache", title, COLUMNS, rows, notes, {}), facts, out)
    return 0


class StandIn:
    """A tower that costs nothing."""

    dim = WIDTH

    @property
    def recipes(self) -> Mapping[Modality, str]:
        return {Modality.IMAGE: "imagebind-image-v1"}

    def encode(self, _modality: Modality, clips: Tensor) -> Tensor:
        return torch.randn(len(clips), WIDTH)


def built(place: Path, pictures: int) -> dict[str, Any]:
    """A cache from names of one small picture, in folders of a thousand."""
    images, model = place / "images", place / "model"
    model.mkdir()
    write_model_folder(model, folder())
    for number in range(pictures):
        path = images / f"{number // 1000:06}" / f"{number:07}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number % 1000:
            path.hardlink_to(path.with_name(f"{number // 1000 * 1000:07}.png"))
        else:
            Image.new("RGB", (64, 64), "teal").save(path)
    with Watched() as own:
        begun = time.perf_counter()
        done = build_cache(model, images, progress=progress, open_tower=lambda *_: StandIn())
        seconds = time.perf_counter() - begun
    return line("built", done.rows, seconds, own.grown)


def searched(place: Path, sizes: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    for rows in sizes:
        path = place / f"{rows}.safetensors"
        write_pieces(path, {"vectors": torch.empty(rows, WIDTH, device="meta")}, blocks(rows))
        with Watched() as own:
            ((_, vectors),) = read_tensors(path)
            cache, taken = VisualCache(vectors), []
            for _ in range(QUERIES + 1):
                begun = time.perf_counter()
                cache.search(torch.randn(WIDTH), SIZE)
                taken.append(time.perf_counter() - begun)
        yield line("searched", rows, sorted(taken[1:])[QUERIES // 2], own.grown)
        path.unlink()


def blocks(rows: int) -> Iterator[bytes]:
    units = torch.nn.functional.normalize(torch.randn(BLOCK, WIDTH), dim=-1).numpy()
    for start in range(0, rows, BLOCK):
        yield units[: min(BLOCK, rows - start)].tobytes()


def folder() -> PandaGPTFolder:
    return PandaGPTFolder(
        id="stand-in",
        template="chatml",
        encoder=EncoderSpec(kind="imagebind", sizes={"out": WIDTH}),
        projection=ProjectionSpec(WIDTH, 8),
        llm=LLMSpec(folder="llm"),
        recipes=dict(StandIn().recipes),
        files={},
        max_model_len=8,
    )


class Watched:
    """`grown`: the most MiB that this process had of its own in the block, above what it had at the beginning."""

    def __enter__(self) -> "Watched":
        self._before, self._most, self._ended = own(), own(), Event()
        self._watcher = Thread(target=self._watch)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watcher.join()

    @property
    def grown(self) -> float:
        return self._most - self._before

    def _watch(self) -> None:
        while not self._ended.wait(0.005):
            self._most = max(self._most, own())


def own() -> float:
    """MiB of pages that are no file's (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(text.split()[1]) for text in status.splitlines() if text.startswith("RssAnon")) / 1024


def line(what: str, rows: int, seconds: float, grown: float) -> dict[str, Any]:
    return {"what": what, "rows": rows, "rows_mib": rows * WIDTH / 2**18, "seconds": seconds, "grown_mib": grown}


def progress(done: int, total: int) -> None:
    if done == total or done % 4096 == 0:
        print(f"{done} of {total} pictures", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
