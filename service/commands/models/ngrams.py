"""`pandagpt ngrams`: a table of a model's n-grams into its folder, by which answers are drafted."""

import argparse
from pathlib import Path

from service.worker.torch_threads import import_torch

TOKENS = 400_000


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--model", type=Path, required=True, help="model folder; its own table is replaced")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="tokens of answers that are counted (%(default)s)")
    parser.add_argument("--device", default="cpu", help="torch device")


def run(arguments: argparse.Namespace) -> int:
    """Build it, with a bar of progress."""
    from tqdm import tqdm  # an optional package

    import_torch()
    from pandagpt_core.convert.ngrams.build import build_ngrams  # takes seconds to import

    with tqdm(total=arguments.tokens, unit=" tokens", unit_scale=True) as bar:

        def progress(tokens: int) -> None:
            bar.update(tokens)

        built = build_ngrams(arguments.model, arguments.tokens, device=arguments.device, progress=progress)
    counted = f"{built.tokens:,} tokens of {built.answers:,} answers"
    print(f"{arguments.model}: a table of {built.contexts:,} contexts, from {counted}")
    return 0
