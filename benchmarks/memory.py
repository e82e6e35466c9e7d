"""Is memory flat over thousands of short requests? Through the engine, and with --http through the whole service.

    python -m benchmarks.memory [--quick] [--requests N] [--http] [--precision int8]

4,000 requests either way: a step of a shape that OpenVINO has not met takes memory that it keeps, until shapes run out
after some 2,000; and the worker's allocator gives memory back and takes it again in steps of 6 MiB, one of which in
2,000 requests looks like growth.

Requests differ in length, sampling, penalties, log probabilities and stop strings; some are aborted midway.
"""

import argparse
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from benchmarks.contestants.field import service
from benchmarks.contestants.servers import ServerContestant
from benchmarks.lib import machine, plots, procs, report
from benchmarks.lib.absent import Absent
from benchmarks.lib.contestant import RunFailed
from benchmarks.lib.options import BenchmarkOptions, options, parser
from benchmarks.lib.prompts import PASSAGE, prompts
from benchmarks.lib.stats import slope
from benchmarks.lib.weights import source
from pandagpt_core.engine.config import EngineConfig
from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.llm.autotune import RunnerName, served
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.openvino import installed
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.types import SamplingParams

AT_ONCE = 16
SAMPLES = 40  # readings of memory over the whole run
WARM = 0.25  # of the requests, which do not count: allocators fill their pools
ENGINE, HTTP, QUICK = 4000, 4000, 64  # requests of a way, if not said
ENOUGH = 1000  # requests below which growth is allocators' noise
LONGEST, MOST_NEW = 200, 12  # characters of a message, tokens of an answer, through HTTP
STORE = "store"
FLAT_MIB = 5.0  # growth over a thousand requests that is still called flat
COLUMNS = (
    report.Column("through", "through"),
    report.Column("requests", "requests", 0),
    report.Column("seconds", "seconds", 0),
    report.Column("start_mib", "MiB at the start", 0),
    report.Column("warm_mib", "after a quarter", 0),
    report.Column("end_mib", "at the end", 0),
    report.Column("growth", "MiB per 1,000 requests since", 2),
    report.Column("verdict", "verdict"),
)
Reading = tuple[float, float]  # requests done, MiB


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """The number of requests, and the seed of their differences."""

    requests: int
    seed: int = 0

    @classmethod
    def of(cls, said: int | None, quick: bool, usual: int) -> "MemoryPlan":
        return cls(said or (QUICK if quick else usual))


def main() -> int:
    args = parser(__doc__)
    args.add_argument("--requests", type=int, help="of each way")
    args.add_argument("--http", action="store_true", help="through the whole service too")
    args.add_argument("--precision", default="int8", choices=("fp32", "bf16", "int8"), help="of the language model")
    given = args.parse_args()
    shared = options(given)
    torch.set_num_threads(shared.threads)
    facts = machine.facts()
    absent: dict[str, str] = {}
    curves = dict(curves_of(given, shared, absent))
    notes = [
        f"{AT_ONCE} requests at once; resident memory read {SAMPLES} times. Growth is the slope of a line through the "
        f"readings after the first quarter; flat is at most {FLAT_MIB:g} MiB over a thousand requests.",
    ]
    if given.http:
        notes.append(
            "Through HTTP a wave of the longest requests goes first: a slot of the cache takes memory when a sequence "
            "first gets that far. The store keeps a request's events for as long as its caller may ask for them again."
        )
    out = (shared.out or report.folder(facts)) if shared.save else None
    rows = [row(through, curve, taken) for through, (curve, taken) in curves.items()]
    title = "Memory over many short requests"
    report.publish(report.BenchmarkReport("memory", title, COLUMNS, rows, notes, absent), facts, out)
    if out is not None and curves:
        lines = {through: curve for through, (curve, _) in curves.items()}
        plots.draw(out / "memory.png", [plots.Panel("resident memory", "requests", "MiB", lines)])
    return 1 if any(line["verdict"] == "GROWS" for line in rows) else 0


def curves_of(
    given: argparse.Namespace, shared: BenchmarkOptions, absent: dict[str, str]
) -> Iterator[tuple[str, tuple[list[Reading], float]]]:
    """Readings and seconds of each way that is asked for."""
    llm = served(load_llama(source()), given.precision, runner=runner())
    yield (
        f"engine, {given.precision}",
        timed(lambda: through_engine(llm, MemoryPlan.of(given.requests, shared.quick, ENGINE))),
    )
    if given.http:
        try:
            begun = time.perf_counter()
            house, store = through_http(given.precision, shared, MemoryPlan.of(given.requests, shared.quick, HTTP))
        except (Absent, RunFailed) as reason:
            absent[f"HTTP, {given.precision}"] = str(reason)
            return
        taken = time.perf_counter() - begun
        yield f"HTTP, {given.precision}: gateway and worker", (house, taken)
        yield f"HTTP, {given.precision}: {STORE}", (store, taken)


def timed(work: Callable[[], list[Reading]]) -> tuple[list[Reading], float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def through_engine(llm: Llama, plan: MemoryPlan) -> list[Reading]:
    """All requests through one engine in this process."""
    tokenizer = load_tokenizer(source())
    passage = tokenizer.encode(PASSAGE)
    engine = Engine(llm, tokenizer, EngineConfig(max_running=AT_ONCE, max_model_len=128))
    chance, readings, sent, ended = random.Random(plan.seed), [(0.0, resident())], 0, 0
    running: set[str] = set()
    while ended < plan.requests:
        while sent < plan.requests and len(running) < AT_ONCE:
            (ids,) = prompts(passage, chance.randint(4, 48), 1, sent)
            engine.add(EngineRequest(str(sent), LLMInputs(llm.embed(ids), tuple(ids)), params(chance, sent)))
            running.add(str(sent))
            sent += 1
        done = {output.sequence_id for output in engine.step() if output.finish_reason or output.error}
        if running - done and chance.random() < 0.02:
            done.add(aborted := chance.choice(sorted(running - done)))
            engine.abort(aborted)
        running -= done
        ended += len(done)
        if ended * SAMPLES // plan.requests >= len(readings):
            readings.append((float(ended), resident()))
    return readings


def params(chance: random.Random, seed: int) -> SamplingParams:
    """A short answer, sampled in one way or another."""
    return SamplingParams(
        max_tokens=chance.randint(1, 12),
        temperature=chance.choice((0.0, 0.7, 1.3)),
        top_p=chance.choice((1.0, 0.9)),
        top_k=chance.choice((0, 40)),
        repetition_penalty=chance.choice((1.0, 1.1)),
        logprobs=chance.choice((None, 3)),
        stop=chance.choice(((), (" the",))),
        seed=seed,
    )


def runner() -> RunnerName:
    return "openvino" if installed() else "torch"


def through_http(precision: str, shared: BenchmarkOptions, plan: MemoryPlan) -> tuple[list[Reading], list[Reading]]:
    """Requests in waves of `AT_ONCE`; memory of gateway, worker and supervisor, and that of the store."""
    server = service(precision, runner()).make(shared)
    assert isinstance(server, ServerContestant)
    chance, done = random.Random(plan.seed), 0
    house: list[Reading] = []
    store: list[Reading] = []
    try:
        server.start()
        server.chat([f"Number {10 * plan.requests}: {PASSAGE[:LONGEST]}"] * AT_ONCE, MOST_NEW)
        read(server, 0, house, store)
        while done < plan.requests:
            texts = [f"Number {done + n}: {PASSAGE[: chance.randint(20, LONGEST)]}" for n in range(AT_ONCE)]
            server.chat(texts, chance.randint(1, MOST_NEW))
            done += AT_ONCE
            if done * SAMPLES // plan.requests >= len(house):
                read(server, done, house, store)
        return house, store
    finally:
        server.stop()


def read(server: ServerContestant, done: int, house: list[Reading], store: list[Reading]) -> None:
    pids = server.pids()
    stores = [pid for pid in pids if procs.name(pid).startswith("valkey")]
    house.append((float(done), procs.resident_mib([pid for pid in pids if pid not in stores])))
    store.append((float(done), procs.resident_mib(stores)))


def row(through: str, curve: list[Reading], taken: float) -> report.Row:
    total = curve[-1][0]
    late = [reading for reading in curve if reading[0] >= WARM * total]
    growth = slope([done for done, _ in late], [mib for _, mib in late]) * 1000
    return {
        "through": through,
        "requests": total,
        "seconds": taken,
        "start_mib": curve[0][1],
        "warm_mib": late[0][1],
        "end_mib": curve[-1][1],
        "growth": growth,
        "verdict": "kept for a time" if through.endswith(STORE) else verdict(total, growth),
    }


def verdict(requests: float, growth: float) -> str:
    if requests < ENOUGH:
        return "too few to say"
    return "flat" if growth <= FLAT_MIB else "GROWS"


def resident() -> float:
    return procs.resident_mib([os.getpid()])


if __name__ == "__main__":
    sys.exit(main())
