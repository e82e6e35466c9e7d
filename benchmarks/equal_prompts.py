"""Requests with one prompt that arrive together: the service as served by default reads it once.

    python -m benchmarks.equal_prompts [--quick] [--together 8] [--words 500] [--model models/panda-mini]

One request alone, so many with the same prompt together, and as many with prompts of their own. Tokens computed are
those that the worker's /metrics count as looked up in the prefix cache and not found there.
"""

import re
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx

from benchmarks.contestants.servers import Server, ServerContestant, free_port
from benchmarks.lib import machine, report
from benchmarks.lib.machine import ROOT
from benchmarks.lib.options import options, parser
from benchmarks.lib.procs import Watch
from benchmarks.resident import default_server

NEW_TOKENS = 4
QUICK_WORDS = 60
LIMIT_S = 600.0
COLUMNS = (
    report.Column("prompts", "prompts"),
    report.Column("requests", "requests", 0),
    report.Column("asked", "prompt tokens", 0),
    report.Column("computed", "of them computed", 0),
    report.Column("seconds", "seconds to the last answer", 1),
    report.Column("ratio", "times one alone", 2),
)


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--model", type=Path, default=ROOT / "models" / "panda-mini", help="model folder")
    arguments.add_argument("--together", type=int, default=8, help="requests at once")
    arguments.add_argument("--words", type=int, default=500, help="of a prompt; three tokens each")
    parsed = arguments.parse_args()
    given, facts, counted = options(parsed), machine.facts(), free_port()
    words = QUICK_WORDS if given.quick else parsed.words
    service = ServerContestant(observed(default_server(parsed.model), counted))
    service.start()
    try:
        watch = Watch(service.pids, machine.cores())
        asker = PromptAsker(service.port, counted)
        asker.row("warms up", [text("first", words)])
        one = asker.row("one alone", [text("one", words)])
        same = asker.row("the same", [text("same", words)] * parsed.together)
        own = asker.row("each its own", [text(str(number), words) for number in range(parsed.together)])
        others = watch.others()
    finally:
        service.stop()
    rows = [{**row, "ratio": float(str(row["seconds"])) / float(str(one["seconds"]))} for row in (one, same, own)]
    notes = [f"{NEW_TOKENS} tokens an answer, one run each.", report.quietness([others])]
    made = report.BenchmarkReport("equal_prompts", "Equal prompts that arrive together", COLUMNS, rows, notes)
    report.publish(made, facts, (given.out or report.folder(facts)) if given.save else None)
    return 0 if float(str(same["computed"])) < 2 * float(str(one["computed"])) else 1


def observed(server: Server, port: int) -> Server:
    """The same with the worker's metrics on a port."""
    variables = {"PANDAGPT_WORKER_METRICS_PORT": str(port)}
    return replace(server, spec=lambda at: replace(server.spec(at), env=variables))


def text(first: str, words: int) -> str:
    """A prompt that no other begins with."""
    return " ".join((first, *(f"word{number % 97}" for number in range(words))))


class PromptAsker:
    """Asks the service at `port` and reads what its worker counts at `counted`."""

    def __init__(self, port: int, counted: int) -> None:
        self._port, self._counted = port, counted

    def row(self, prompts: str, texts: Sequence[str]) -> report.Row:
        asked, found = self._read()
        begun = time.perf_counter()
        with ThreadPoolExecutor(len(texts)) as threads:
            list(threads.map(self._ask, texts))
        taken = time.perf_counter() - begun
        asked_now, found_now = self._read()
        asked, found = asked_now - asked, found_now - found
        return {
            "prompts": prompts, "requests": len(texts), "asked": asked, "computed": asked - found, "seconds": taken,
        }  # fmt: skip

    def _ask(self, prompt: str) -> None:
        fields = {"prompt": (None, prompt), "max_tokens": (None, str(NEW_TOKENS))}
        url = f"http://127.0.0.1:{self._port}/v1/generate"
        httpx.post(url, files=fields, timeout=LIMIT_S, trust_env=False).raise_for_status()

    def _read(self) -> tuple[float, float]:
        """Tokens looked up in the prefix cache so far, and found there."""
        page = httpx.get(f"http://127.0.0.1:{self._counted}/metrics", trust_env=False).raise_for_status().text
        return total(page, "pandagpt_prefix_cache_queries_total"), total(page, "pandagpt_prefix_cache_hits_total")


def total(page: str, name: str) -> float:
    """Of a counter in Prometheus' text, over its labels."""
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", page, re.MULTILINE))


if __name__ == "__main__":
    sys.exit(main())
