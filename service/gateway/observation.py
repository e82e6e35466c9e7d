"""One HTTP request as its log line and the metrics see it: filled in on the request's way, read once at its end.

It lies in the ASGI scope's state, so that whatever handles the request finds it without being passed it.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field

from starlette.types import Scope

from pandagpt_core.types import Priority
from service.broker.protocol import Done, Event, Failed, Heard, Started, Token
from service.gateway.errors import GatewayError
from service.metrics import GatewayMetrics
from service.tracing import Trace, Untraced

Events = AsyncGenerator[list[Event], None]


def new_http_request_id() -> str:
    """The name of an HTTP request in `x-request-id` and in logs."""
    return f"req-{uuid.uuid4().hex}"


@dataclass(slots=True)
class Observation:
    """`received` is the time of the request's first byte; `first_token_s` counts from there. Times are those of
    `time.perf_counter`; `epoch` added to them gives Unix seconds. `phases` are name, begin and end of what the gateway
    did for the request: the spans of its trace, where it has one.

    `outcome`: done, cancelled, client_gone, client_too_slow, handed_over, or failed, then with an error's `code`.
    `model` is set once it is known that it is served; `charged` where the tokens are this request's own.
    """

    received: float = field(default_factory=time.perf_counter)
    epoch: float = field(default_factory=lambda: time.time() - time.perf_counter())
    phases: list[tuple[str, float, float]] = field(default_factory=list)
    request_id: str = ""
    trace: Trace = field(default_factory=Untraced)
    key_class: str = ""
    model: str | None = None
    priority: Priority = "interactive"
    charged: bool = False
    ended: bool = False  # whether the request's end was among the events that came
    submitted: float = 0.0  # time at which the queue had it
    prompt_tokens: int = 0
    completion_tokens: int = 0
    explained_tokens: int = 0
    first_token_s: float | None = None
    outcome: str | None = None
    code: str | None = None

    @property
    def answered(self) -> bool:
        """Whether the end came, and not instead of an answer."""
        return self.ended and (self.outcome != "failed" or self.first_token_s is not None)

    def fail(self, code: str) -> None:
        self.outcome, self.code = "failed", code


def note_failure(scope: Scope, error: GatewayError) -> None:
    """Note the refusal that answers a request, where `middleware.py` is around the application."""
    seen: Observation | None = scope.get("state", {}).get("observation")
    if seen is not None:
        seen.fail(error.code)


async def metered(
    events: Events,
    observation: Observation,
    metrics: GatewayMetrics,
    timed: bool = True,
    at_end: Callable[[], Coroutine[None, None, None]] | None = None,
) -> Events:
    """The same events; closes what it reads from. `at_end` is done before the answer's end is handed on, which is its
    caller's sign to send the next request."""
    meter = TokenMeter(observation, metrics, timed)
    async with aclosing(events):
        async for came in events:
            meter.saw(came)
            if at_end is not None and observation.answered:
                await asyncio.shield(at_end())
            yield came


class TokenMeter:
    """Counts and times the events of one request on their way to its caller."""

    def __init__(self, observation: Observation, metrics: GatewayMetrics, timed: bool = True) -> None:
        """`timed` False for who reads along with a request that began before: its times are not those of an answer."""
        assert observation.model is not None, "the model is known before its tokens come"
        self._seen, self._timed = observation, timed
        labels = (observation.model, observation.priority)
        self._first = metrics.first_token_seconds.labels(*labels)
        self._between = metrics.inter_token_seconds.labels(*labels)
        self._relayed = metrics.tokens.labels(observation.model)
        self._last: dict[int, float] = {}

    def saw(self, events: Iterable[Event]) -> None:
        for event in events:
            match event:
                case Token():
                    self._token(event)
                case Heard():
                    self._heard(event)
                case Started():
                    self._seen.prompt_tokens = event.prompt_tokens
                case Done():
                    self._seen.ended = True
                    self._seen.outcome = "cancelled" if event.cancelled else "done"
                    self._seen.explained_tokens = event.explained_tokens
                case Failed():
                    self._seen.ended = True
                    self._seen.fail(event.code)

    def _heard(self, event: Heard) -> None:
        self._seen.completion_tokens += event.tokens
        self._relayed.inc(event.tokens)
        if self._timed and event.tokens and self._seen.first_token_s is None:
            self._begin(time.perf_counter())

    def _token(self, event: Token) -> None:
        self._seen.completion_tokens += 1
        self._relayed.inc()
        if not self._timed or not (event.text or event.logprob):
            return  # nothing that the caller sees
        now = time.perf_counter()
        if self._seen.first_token_s is None:
            self._begin(now)
        if event.choice in self._last:
            self._between.observe(now - self._last[event.choice])
        self._last[event.choice] = now

    def _begin(self, now: float) -> None:
        self._seen.first_token_s = now - self._seen.received
        self._first.observe(self._seen.first_token_s)
        self._seen.phases.append(("first token", self._seen.submitted, now))
