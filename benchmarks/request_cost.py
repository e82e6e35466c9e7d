"""Processor time of a picture and of a token, the whole service as it is served by default, one request at a time.

    python -m benchmarks.request_cost [--quick] [--rounds 20] [--model models/panda-mini] [--out FOLDER | --no-save]

Requests with a picture that was never sent, answered with few tokens and with many; the difference is the cost of the
tokens. Processor time is that of gateway, worker, store and decoding children together, so waiting costs nothing and
other work moves it little.
"""

import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from benchmarks.contestants.field import as_served
from benchmarks.contestants.servers import ServerContestant
from benchmarks.first_token import picture
from benchmarks.lib import machine, procs, report
from benchmarks.lib.machine import ROOT
from benchmarks.lib.options import options, parser

FEW, MANY = 4, 68  # tokens of an answer
SETTLES_S = 0.2  # after an answer, for the last work of its processes
COLUMNS = (
    report.Column("model", "model"),
    report.Column("few_ms", f"a new picture and {FEW} tokens, ms", 1),
    report.Column("many_ms", f"a new picture and {MANY} tokens, ms", 1),
    report.Column("token_ms", "a token, ms", 2),
)


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--model", type=Path, default=ROOT / "models" / "panda-mini", help="model folder")
    parsed = arguments.parse_args()
    given, facts = options(parsed), machine.facts()
    service = as_served(parsed.model, given)
    service.start()
    try:
        found = row(service, parsed.model.name, given.rounds or (3 if given.quick else 20))
    finally:
        service.stop()
    notes = ["Processor time, medians; few and many in turn, after one of each that does not count."]
    made = report.BenchmarkReport("request_cost", "Processor time of a picture and a token", COLUMNS, [found], notes)
    report.publish(made, facts, (given.out or report.folder(facts)) if given.save else None)
    return 0


def row(service: ServerContestant, model: str, rounds: int) -> report.Row:
    costs: dict[int, list[float]] = {FEW: [], MANY: []}
    with httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=120, trust_env=False) as client:
        for _ in range(rounds + 1):
            for tokens, seen in costs.items():
                seen.append(cost(client, service.pids(), tokens))
    few, many = (1000 * statistics.median(costs[tokens][1:]) for tokens in (FEW, MANY))
    return {"model": model, "few_ms": few, "many_ms": many, "token_ms": (many - few) / (MANY - FEW)}


def cost(client: httpx.Client, pids: Sequence[int], tokens: int) -> float:
    """Seconds of processor time that one answer took."""
    data = {"prompt": "What is this?", "temperature": "0", "max_tokens": str(tokens), "ignore_eos": "true"}
    upload = {"image": ("x.png", picture(time.time_ns()), "image/png")}
    before = procs.cpu_seconds(list(pids))
    client.post("/v1/generate", data=data, files=upload).raise_for_status()
    time.sleep(SETTLES_S)
    return procs.cpu_seconds(list(pids)) - before


if __name__ == "__main__":
    sys.exit(main())
