"""`pandagpt cache build`: pictures into a model folder's cache, which draws other media towards them."""

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", required=True)
    build = actions.add_parser("build", help="encode a folder of pictures; goes on where it was interrupted")
    build.add_argument("--model", type=Path, required=True, help="model folder with a tower for pictures")
    build.add_argument("--images", type=Path, required=True, help="folder of pictures, searched with what is below it")
    build.add_argument("--device", default="cpu", help="torch device")
    build.add_argument("--batch", type=int, default=32, help="pictures encoded at once")


def run(arguments: argparse.Namespace) -> int:
    """Build it, with a bar of progress."""
    from tqdm import tqdm  # an optional package

    from pandagpt_core.convert.cache.build import build_cache  # takes seconds to import

    with tqdm(unit=" pictures") as bar:

        def progress(done: int, total: int) -> None:
            bar.total, bar.n = total, done
            bar.refresh()

        built = build_cache(
            arguments.model, arguments.images, device=arguments.device, batch=arguments.batch, progress=progress
        )
    print(f"{arguments.model}: a cache of {built.rows:,} image features; {built.skipped:,} pictures were not readable")
    print("options of a request: cache_size, cache_t, cache_weight, cache_details")
    return 0
