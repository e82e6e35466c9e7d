"""A batch of many lines through real processes: how fast, and the gateway's memory at its peak.

    python -m benchmarks.batches [--quick] [--lines 10000] [--out FOLDER | --no-save]

Store, gateway and worker are processes; the worker has no model, and answers one token a line. The gateway's memory is
the most that the kernel saw resident (VmHWM): before the batch, and once its files were read. Linux only.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from openai import OpenAI

from benchmarks.lib import machine, report
from tests.chaos.house import House, house

MIB = 1 << 20
COLUMNS = (
    report.Column("lines", "lines", 0),
    report.Column("input_mib", "input, MiB"),
    report.Column("output_mib", "output, MiB"),
    report.Column("seconds", "seconds", 0),
    report.Column("per_s", "lines/s", 0),
    report.Column("before_mib", "gateway before, peak MiB", 0),
    report.Column("peak_mib", "gateway after, peak MiB", 0),
    report.Column("grown_kib", "grown, KiB a line", 2),
)
_RUNNING = ("validating", "in_progress", "finalizing")


def line(number: int) -> str:
    body = {"messages": [{"role": "user", "content": f"Question {number}"}], "max_tokens": 1, "seed": number}
    return json.dumps({"custom_id": f"id-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body})


def peak_bytes(made: House) -> int:
    """The most that the gateway had resident since it started."""
    process = made.gateways[0].process
    assert process is not None
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(next(one.split()[1] for one in status.splitlines() if one.startswith("VmHWM"))) * 1024


def measured(made: House, lines: int) -> Iterator[report.Row]:
    """One small batch to warm up, then the one that counts. Raises SystemExit for a line that is lost or doubled."""
    with OpenAI(base_url=f"{made.addresses()[0]}/v1", api_key="none", timeout=120) as client:
        run(client, 64)
        before, begun = peak_bytes(made), time.monotonic()
        given, output = run(client, lines)
        seconds, peak = time.monotonic() - begun, peak_bytes(made)
    names = [json.loads(one)["custom_id"] for one in output.splitlines()]
    if names != [f"id-{number}" for number in range(lines)]:
        raise SystemExit(f"{len(names)} answers to {lines} lines, or not in their order")
    yield {
        "lines": lines,
        "input_mib": given / MIB,
        "output_mib": len(output) / MIB,
        "seconds": seconds,
        "per_s": lines / seconds,
        "before_mib": before / MIB,
        "peak_mib": peak / MIB,
        "grown_kib": (peak - before) / 1024 / lines,
    }


def run(client: OpenAI, lines: int) -> tuple[int, str]:
    """The input's bytes, and the output file."""
    data = "\n".join(map(line, range(lines))).encode()
    file = client.files.create(file=("batch.jsonl", data), purpose="batch")
    batch: Any = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    while batch.status in _RUNNING:
        time.sleep(0.5)  # a caller's usual pause between looks
        batch = client.batches.retrieve(batch.id)
        print(f"\r{batch.status} {batch.request_counts.completed}", end="", file=sys.stderr, flush=True)
    if batch.status != "completed" or batch.output_file_id is None:
        raise SystemExit(f"the batch is {batch.status}: {batch.errors}")
    return len(data), client.files.content(batch.output_file_id).text


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 lines")
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--out", type=Path, help="folder for the result")
    parser.add_argument("--no-save", action="store_true")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, house(Path(folder), gateways=1, workers=1, step_delay=0.0) as made:
        rows = list(measured(made, 200 if given.quick else given.lines))
    facts = machine.facts()
    notes = [
        "Every line was answered once, in the order of the file.",
        "Other work may have run beside: memory does not depend on it, lines/s does.",
    ]
    result = report.BenchmarkReport("batches", "A batch of many lines", COLUMNS, rows, notes)
    report.publish(result, facts, None if given.no_save else given.out or report.folder(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
