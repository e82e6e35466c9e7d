"""`pandagpt worker`: one worker, until SIGTERM has drained it."""

import argparse
from pathlib import Path

from service import logs, settings
from service.commands.overrides import overrides
from service.commands.stores import with_store


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--model", type=Path, help="model folder")
    parser.add_argument("--device", help="torch device, or auto")
    parser.add_argument(
        "--store",
        metavar="URL",
        help="address of the Redis or Valkey; that of a running `pandagpt serve` here if not given",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal."""
    given = overrides(arguments, model="worker.model", device="worker.device", store="store.url")
    chosen = settings.load(given)
    logs.configure(chosen.log.level, chosen.log.format, "worker")
    chosen = with_store(chosen)
    # torch comes with it: not before the settings are known to be right.
    from service.worker.main import run as serve

    return serve(chosen)
