"""`pandagpt serve`: everything on this machine, until Ctrl-C."""

import argparse
import os
import sys
from pathlib import Path

from service import settings
from service.commands.overrides import overrides
from service.local import named_models, supervisor


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on; 0 takes a free one")
    parser.add_argument("--model", type=Path, help="model folder, or the name of a model: panda-small is fetched first")
    parser.add_argument(
        "--speech", type=Path, help="write down speech: a recogniser's folder, or whisper-base, which is fetched first"
    )
    parser.add_argument("--device", help="torch device, or auto")
    parser.add_argument("--store", metavar="URL", help="a Redis or Valkey of yours instead of the embedded one")


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal."""
    given = overrides(
        arguments,
        host="gateway.host",
        port="gateway.port",
        model="worker.model",
        speech="worker.speech",
        device="worker.device",
        store="store.url",
    )
    # A person watches: plain lines, unless they asked for something else or the output goes to a file.
    if sys.stderr.isatty() and "PANDAGPT_LOG_FORMAT" not in os.environ:
        given.setdefault("log", {})["format"] = "text"
    asked = settings.load(given).worker
    given.setdefault("worker", {})["model"] = named_models.model_folder(asked.model)
    if asked.speech is not None:
        given["worker"]["speech"] = named_models.recogniser_folder(asked.speech)
    return supervisor.serve(settings.load(given), given, lambda text: print(text, flush=True))
