"""`pandagpt doctor`: look at this machine and the settings, print the faults and their remedies."""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from service import settings
from service.commands.operate import checks
from service.commands.operate.checks import Finding
from service.commands.overrides import overrides

MARKS = {"ok": "ok  ", "warn": "look", "fail": "FAIL"}

# In the order in which a person would mend them.
CHECKS: dict[str, Callable[[settings.Settings], Iterator[Finding]]] = {
    "python": checks.python,
    "torch": checks.torch_and_device,
    "media": checks.media,
    "model": checks.model,
    "memory": checks.memory,
    "speed": checks.speed,
    "store": checks.store,
    "gateway": checks.gateway,
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--model", type=Path, help="model folder")
    parser.add_argument("--device", help="torch device, or auto")
    parser.add_argument("--store", metavar="URL", help="address of the Redis or Valkey")
    parser.add_argument("--port", type=int, help="port of the gateway")
    parser.add_argument("--only", choices=CHECKS, action="append", help="only this check; may be repeated")
    parser.add_argument("--json", action="store_true", help="findings as lines of JSON")


def run(arguments: argparse.Namespace) -> int:
    """1 if anything failed; a warning is no failure."""
    levels = []
    for one in findings(arguments):  # each is printed as it comes: the measurement takes a while
        print(json.dumps(asdict(one)) if arguments.json else _line(one), flush=True)
        levels.append(one.level)
    failed = levels.count("fail")
    if not arguments.json:
        print(f"\n{failed} of {len(levels)} failed" if failed else "\nNothing stands in the way.")
    return 1 if failed else 0


def findings(arguments: argparse.Namespace) -> Iterator[Finding]:
    """Settings first: the rest needs them."""
    places = {"model": "worker.model", "device": "worker.device", "store": "store.url", "port": "gateway.port"}
    try:
        chosen = settings.load(overrides(arguments, **places))
    except settings.SettingsError as error:
        for line in str(error).splitlines():
            yield Finding("settings", "fail", line, "docs/settings.md lists every setting with its unit")
        return
    yield Finding("settings", "ok", "every variable and key is one we know, with a value that fits")
    for name in arguments.only or CHECKS:
        yield from CHECKS[name](chosen)


def _line(one: Finding) -> str:
    return f"{MARKS[one.level]}  {one.check:<8}  {one.what}" + (f"\n                → {one.todo}" if one.todo else "")
