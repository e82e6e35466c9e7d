"""Parts of the time to the first token: the service as it is served by default, one request at a time.

    python -m benchmarks.first_token [--quick] [--rounds 20] [--model models/panda-mini]

A text, a picture that was sent before, and a picture that never was. The phases follow from the times that the service
keeps of a request (`GET /v1/requests/{id}`) and from the client's own, by one clock:

- sent to queued: upload, decoding in a child, the queue's admission;
- queued to taken: the worker's loop;
- taken to started: the store's round trips, encoding what was never encoded;
- started to first token: prefill and the first step;
- first token to client: publishing, the gateway, SSE.
"""

import io
import itertools
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from benchmarks.contestants.field import as_served
from benchmarks.contestants.servers import ServerContestant
from benchmarks.lib import machine, report
from benchmarks.lib.machine import ROOT
from benchmarks.lib.options import options, parser
from benchmarks.lib.procs import Watch
from benchmarks.lib.sse import DONE, EventParser, text_of

NEW_TOKENS = 4
SIDE = 256  # pixels of a picture
TIMES = ("sent", "created", "taken", "started", "first_token", "received")
PHASES = ("sent_to_queued", "queued_to_taken", "taken_to_started", "started_to_first_token", "first_token_to_client")
COLUMNS = (
    report.Column("request", "request"),
    *(report.Column(name, name.replace("_", " ") + " (ms)", 1) for name in PHASES),
    report.Column("whole", "first token (ms)", 1),
)
Upload = dict[str, tuple[str, bytes, str]]


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--model", type=Path, default=ROOT / "models" / "panda-mini", help="model folder")
    parsed = arguments.parse_args()
    given, facts = options(parsed), machine.facts()
    rounds = given.rounds or (3 if given.quick else 20)
    service = as_served(parsed.model, given)
    service.start()
    try:
        watch = Watch(service.pids, machine.cores())
        rows = [row(name, service, upload, rounds) for name, upload in kinds().items()]
        others = watch.others()
    finally:
        service.stop()
    notes = [
        f"Medians of {rounds} requests, one at a time, {NEW_TOKENS} tokens each, after one that does not count.",
        report.quietness([others]),
    ]
    made = report.BenchmarkReport("first_token", "Phases of the time to the first token", COLUMNS, rows, notes)
    report.publish(made, facts, (given.out or report.folder(facts)) if given.save else None)
    return 0


def kinds() -> dict[str, Callable[[int], Upload]]:
    """By name, the files of a request of each kind, by its number."""
    return {
        "text": lambda _number: {},
        "picture sent before": lambda _number: {"image": ("x.png", picture(0), "image/png")},
        "new picture": lambda number: {"image": ("x.png", picture(time.time_ns() + number), "image/png")},
    }


def picture(seed: int) -> bytes:
    """A PNG of few colours in blocks, which is as large as a drawing, not as noise."""
    chance, out = random.Random(seed), io.BytesIO()
    Image.frombytes("RGB", (16, 16), chance.randbytes(768)).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(
        out, "PNG"
    )
    return out.getvalue()


def row(name: str, service: ServerContestant, upload: Callable[[int], Upload], rounds: int) -> report.Row:
    with httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=120, trust_env=False) as client:
        times = [measured(client, upload(number)) for number in range(rounds + 1)][1:]
    return {"request": name, **medians([phases(each) for each in times])}


def measured(client: httpx.Client, files: Upload) -> dict[str, float]:
    """Unix seconds of TIMES."""
    data = {"prompt": "What is this?", "stream": "true", "temperature": "0", "max_tokens": str(NEW_TOKENS)}
    fields: dict[str, Any] = dict(files) or {"prompt": (None, data.pop("prompt"))}  # a form of parts either way
    sent, received, parser, request_id = time.time(), 0.0, EventParser(), ""
    with client.stream("POST", "/v1/generate", data=data, files=fields) as answer:
        answer.raise_for_status()
        for piece in answer.iter_bytes():
            at = time.time()
            for event in map(json.loads, (data for data in parser.feed(piece) if data != DONE)):
                request_id = request_id or event["id"]
                received = received or (at if text_of(event) else 0.0)
    kept = client.get(f"/v1/requests/{request_id}").raise_for_status().json()["timings"]
    return {"sent": sent, **{name: float(kept[name]) for name in TIMES[1:-1]}, "received": received or time.time()}


def phases(times: dict[str, float]) -> dict[str, float]:
    """Milliseconds between the TIMES, and of all together."""
    steps = itertools.pairwise(TIMES)
    found = {name: 1000 * (times[end] - times[begin]) for name, (begin, end) in zip(PHASES, steps, strict=True)}
    return {**found, "whole": 1000 * (times["received"] - times["sent"])}


def medians(all_phases: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in all_phases) for name in (*PHASES, "whole")}


if __name__ == "__main__":
    sys.exit(main())
