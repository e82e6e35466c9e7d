"""Workers and their one queue, event by event (simpy): how long requests wait, and how many turns workers make.

A worker turns as `service/worker/loop.py` does. Beside a step it takes as many requests as it has room for; those are
admitted before the next step, and each step gives every running sequence one token. A worker without work waits for the
queue and gets a request at once.
"""

import heapq
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import simpy


@dataclass(frozen=True, slots=True)
class Arrival:
    """`at` in seconds; `encode_s`: seconds of its media in the encoder."""

    at: float
    tokens: int
    encode_s: float = 0.0


@dataclass(frozen=True, slots=True)
class WorkerModel:
    """A worker's turn takes `turn_s + each_s * sequences` seconds. `prefetch`: requests held beyond those that run."""

    sequences: int
    turn_s: float
    each_s: float = 0.0
    prefetch: int = 0

    def turn(self, running: int) -> float:
        return self.turn_s + self.each_s * running

    def capacity(self, tokens: float) -> float:
        """Requests a second that one worker ends, with answers of so many tokens in the mean."""
        return self.sequences / (tokens * self.turn(self.sequences))


@dataclass(slots=True)
class Served:
    """One request's seconds: from its arrival until a worker took it, and until its end; `ended` by the clock."""

    queued: float
    whole: float = 0.0
    ended: float = 0.0


@dataclass(slots=True)
class Outcome:
    """`served`: requests that ended. `turns`: steps of all workers. `waiting`: the longest queue."""

    served: list[Served] = field(default_factory=list)
    turns: int = 0
    tokens: int = 0
    waiting: int = 0
    seconds: float = 0.0

    @property
    def queued(self) -> float:
        return _mean([one.queued for one in self.served])

    @property
    def whole(self) -> float:
        return _mean([one.whole for one in self.served])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


@dataclass(slots=True)
class _Request:
    arrival: Arrival
    served: Served


class _Queue:
    """First come, first served; workers that wait get a request in the order they began to wait."""

    def __init__(self, env: simpy.Environment, outcome: Outcome) -> None:
        self._env, self._outcome = env, outcome
        self._waiting: deque[Arrival] = deque()
        self._idle: deque[simpy.Event] = deque()

    def put(self, arrival: Arrival) -> None:
        if self._idle:
            self._idle.popleft().succeed(self._taken(arrival))
            return
        self._waiting.append(arrival)
        self._outcome.waiting = max(self._outcome.waiting, len(self._waiting))

    def take(self, room: int) -> list[_Request]:
        return [self._taken(self._waiting.popleft()) for _ in range(min(room, len(self._waiting)))]

    def wait(self) -> simpy.Event:
        event = self._env.event()
        self._idle.append(event)
        return event

    def _taken(self, arrival: Arrival) -> _Request:
        return _Request(arrival, Served(self._env.now - arrival.at))


class _Worker:
    """`running` holds (turn in which it ends, order, request)."""

    def __init__(self, env: simpy.Environment, model: WorkerModel, queue: _Queue, outcome: Outcome) -> None:
        self._env, self._model, self._queue, self._outcome = env, model, queue, outcome
        self._running: list[tuple[int, int, _Request]] = []
        self._held: list[tuple[float, int, _Request]] = []  # by when its media are encoded
        self._encoder_free = 0.0
        self._turn, self._order = 0, 0

    def run(self) -> Generator[simpy.Event, object, None]:
        while True:
            self._admit()
            taken = self._queue.take(self._room)
            if self._running:
                yield self._env.timeout(self._model.turn(len(self._running)))
                self._step()
            elif not taken and self._held:
                yield self._env.timeout(max(0.0, self._held[0][0] - self._env.now))
            elif not taken:
                request = yield self._queue.wait()
                assert isinstance(request, _Request)
                taken = [request]
            for request in taken:
                self._receive(request)

    @property
    def _room(self) -> int:
        return self._model.sequences + self._model.prefetch - len(self._running) - len(self._held)

    def _receive(self, request: _Request) -> None:
        ready = self._env.now
        if request.arrival.encode_s:
            self._encoder_free = ready = max(self._encoder_free, ready) + request.arrival.encode_s
        self._order += 1
        heapq.heappush(self._held, (ready, self._order, request))

    def _admit(self) -> None:
        while self._held and self._held[0][0] <= self._env.now and len(self._running) < self._model.sequences:
            _, order, request = heapq.heappop(self._held)
            heapq.heappush(self._running, (self._turn + request.arrival.tokens, order, request))

    def _step(self) -> None:
        self._turn += 1
        self._outcome.turns += 1
        self._outcome.tokens += len(self._running)
        while self._running and self._running[0][0] <= self._turn:
            _, _, request = heapq.heappop(self._running)
            request.served.ended = self._env.now
            request.served.whole = self._env.now - request.arrival.at
            self._outcome.served.append(request.served)


def simulate(arrivals: Sequence[Arrival], workers: int, model: WorkerModel, until: float | None = None) -> Outcome:
    """Serve the arrivals (sorted by time): to the last one's end, or for `until` seconds."""
    env, outcome = simpy.Environment(), Outcome()
    queue = _Queue(env, outcome)
    for _ in range(workers):
        env.process(_Worker(env, model, queue, outcome).run())
    env.process(_arrive(env, queue, arrivals))
    env.run(until)
    outcome.seconds = env.now
    return outcome


def _arrive(env: simpy.Environment, queue: _Queue, arrivals: Sequence[Arrival]) -> Generator[simpy.Event, object, None]:
    for arrival in arrivals:
        if arrival.at > env.now:
            yield env.timeout(arrival.at - env.now)
        queue.put(arrival)
