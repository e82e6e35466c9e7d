"""`pandagpt gateway`: one gateway, until SIGTERM has drained it."""

import argparse

from service import logs, settings
from service.commands.overrides import overrides
from service.commands.stores import with_store


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on")
    parser.add_argument(
        "--store",
        metavar="URL",
        help="address of the Redis or Valkey; that of a running `pandagpt serve` here if not given",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal."""
    chosen = settings.load(overrides(arguments, host="gateway.host", port="gateway.port", store="store.url"))
    logs.configure(chosen.log.level, chosen.log.format, "gateway")
    chosen = with_store(chosen)
    from service.gateway import server  # takes most of a second to import

    return server.run(chosen)
