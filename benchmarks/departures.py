"""Streams that are dropped all at once: when their cancels stand in the store, and how long a live caller waits.

    python -m benchmarks.departures [--rounds 19] [--streams 100] [--quick] [--out FOLDER | --no-save]

Store, gateway and a worker (without a model, 20 ms a step, 24 sequences) are processes of their own. A round opens the
streams, waits until the worker runs as many as it can, closes them all and sends one request. A cancel's time is that
of its entry in the store's stream.
"""

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from benchmarks.lib import machine, procs, report
from service.broker.keys import Keys
from tests.chaos.house import House, house, until

STEP_S = 0.02
PROMISED_MS = 100.0  # of the last cancel, in the median round on a machine without other work
TOKENS = 1000
COLUMNS = (
    report.Column("round", "round", 0),
    report.Column("streams", "dropped", 0),
    report.Column("cancels", "cancels", 0),
    report.Column("first", "first cancel after ms", 0, 1000),
    report.Column("last", "last cancel after ms", 0, 1000),
    report.Column("live", "live caller's first token after ms", 0, 1000),
    report.Column("cpu", "gateway's processor time for all of it ms", 0, 1000),
    report.Column("others", "others' cores %", 0, 100),
)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=19)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="2 rounds of 20")
    parser.add_argument("--no-save", action="store_true")
    parser.add_argument("--out", type=Path)
    given, _ = parser.parse_known_args(arguments)
    facts = machine.facts()
    rounds, streams = (2, 20) if given.quick else (given.rounds, given.streams)
    with (
        tempfile.TemporaryDirectory() as folder,
        house(Path(folder), gateways=1, workers=1, step_delay=STEP_S, disconnect_grace_s=0) as building,
    ):
        rows = [_round(building, number, streams) for number in range(1, rounds + 1)]
    notes = [
        f"The last cancel after {_middle(rows, 'last'):.0f} ms (median), {_worst(rows, 'last'):.0f} ms at most; "
        f"the live caller's first token after {_middle(rows, 'live'):.0f} ms, {_worst(rows, 'live'):.0f} ms at most; "
        f"the gateway's processor time until then {_middle(rows, 'cpu'):.0f} ms.",
        "Times are counted from the moment before the first of the connections is closed.",
        report.quietness([row["others"] for row in rows if isinstance(row["others"], float)]),
    ]
    published = report.BenchmarkReport(
        "departures", "Streams dropped at once, and one live caller", COLUMNS, rows, notes
    )
    report.publish(published, facts, None if given.no_save else given.out or report.folder(facts))
    return verdict(rows)


def verdict(rows: Sequence[report.Row]) -> int:
    """The exit status: 1 where the last cancel came too late in the median round, and no other work can be why."""
    late, busy = _middle(rows, "last"), _middle(rows, "others") / 1000
    if late <= PROMISED_MS:
        return 0
    quiet = busy <= report.QUIET
    why = "the promise is broken" if quiet else f"other work took {busy:.0%} of the cores, so this is no verdict"
    sys.stderr.write(f"The last cancel came after {late:.0f} ms; {PROMISED_MS:.0f} ms are promised: {why}.\n")
    return int(quiet)


def _round(building: House, number: int, streams: int) -> report.Row:
    keys, store, address = Keys(), building.client, building.addresses()[0]
    watch = procs.Watch(lambda: procs.tree(os.getpid()), 2)
    senders = [_opened(address, each) for each in range(streams)]
    until(lambda: store.xlen(keys.queue("fake", "interactive")) >= streams, "all streams")
    time.sleep(5 * STEP_S)  # until the streams are in the middle of their answers, as dropped ones are
    before = store.xrevrange(keys.cancels("fake"), count=1)
    after = f"({before[0][0].decode()}" if before else "-"
    gateway = [building.gateways[0].pid]
    began, cpu = time.time(), procs.cpu_seconds(gateway)
    for sender in senders:
        sender.close()
    live = _first_token(address) - began
    cpu = procs.cpu_seconds(gateway) - cpu
    until(lambda: len(store.xrange(keys.cancels("fake"), after)) >= streams, "all cancels")
    noted = [int(entry.split(b"-")[0]) / 1000 - began for entry, _ in store.xrange(keys.cancels("fake"), after)]
    until(lambda: store.xlen(keys.queue("fake", "interactive")) == 0, "the end of all")
    return {
        "round": number,
        "streams": streams,
        "cancels": len(noted),
        "first": min(noted),
        "last": max(noted),
        "live": live,
        "cpu": cpu,
        "others": watch.others(),
    }


def _opened(address: str, number: int) -> socket.socket:
    host, _, port = address.removeprefix("http://").partition(":")
    sender = socket.create_connection((host, int(port)), timeout=60)
    messages = [{"role": "user", "content": f"dropped {number}"}]
    body = json.dumps({"messages": messages, "stream": True, "max_tokens": TOKENS, "ignore_eos": True}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    sender.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
    return sender


def _first_token(address: str) -> float:
    """Time of the first token of a request that is sent now."""
    body = {"messages": [{"role": "user", "content": "live"}], "max_tokens": 1, "stream": True}
    with httpx.stream("POST", f"{address}/v1/chat/completions", json=body, timeout=60, trust_env=False) as answer:
        for line in answer.iter_lines():
            if '"content"' in line and '"content":""' not in line:
                return time.time()
    raise RuntimeError("the live caller got no token")


def _of(rows: Sequence[report.Row], key: str) -> list[float]:
    return [1000 * value for row in rows if isinstance(value := row[key], float)]


def _middle(rows: Sequence[report.Row], key: str) -> float:
    return statistics.median(_of(rows, key))


def _worst(rows: Sequence[report.Row], key: str) -> float:
    return max(_of(rows, key))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
