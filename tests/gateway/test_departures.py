"""Callers who leave cost nothing: a hundred streams dropped at once, and one live caller behind them."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from service.broker.connection import AsyncStore
from service.broker.gateway.departures import MOST_TURNS
from service.broker.keys import Keys
from service.gateway.connections.half_closed import FIRST_S
from service.gateway.state import GatewayState
from tests.conftest import Valkey
from tests.gateway.gated import SEQUENCES, Gated, eventually, gated, opened

DROPPED = 100
# The promise is a tenth of a second, which `benchmarks/departures.py` measures. Here the machine may be busy with other
# things, so steps are counted. A longer wait lasts until the worker's next prompt, which here is for ever.
GENEROUS_S = 60.0


class CountingStore:
    """The departures' connection to the store: pipelines on it, and turns of the loop from `begin` to the first."""

    def __init__(self, store: AsyncStore, loop: asyncio.AbstractEventLoop) -> None:
        self._store, self._loop = store, loop
        self.pipelines = self.turns = 0

    def begin(self) -> None:
        if not self.pipelines:
            self.turns += 1
            self._loop.call_soon(self.begin)

    def pipeline(self, transaction: bool) -> Any:
        self.pipelines += 1
        return self._store.pipeline(transaction=transaction)


def ended(gateway: GatewayState) -> int:
    """Requests that are over, however: a stream that had begun counts as 200, another as 499."""
    samples = [one for family in gateway.registry.collect() for one in family.samples]
    counts = [one for one in samples if one.name == "pandagpt_http_requests_total"]
    return int(sum(one.value for one in counts if one.labels["endpoint"] == "/v1/chat/completions"))


def test_a_hundred_streams_that_are_dropped_at_once_keep_no_live_caller_waiting(
    shared_gateway: tuple[str, GatewayState], valkey: Valkey
) -> None:
    runtime, keys, url = Gated(), Keys(), shared_gateway[0]
    queue = keys.queue("fake", "interactive")
    with gated(valkey, runtime):
        senders = [opened(url, f"dropped {number}") for number in range(DROPPED)]
        eventually(lambda: valkey.client.xlen(queue) == DROPPED, 60, "not all requests were queued")
        eventually(runtime.stepping.is_set, 60, "the worker does not step")
        for sender in senders:
            sender.close()
        # The worker computes its step all the while: no event of any stream comes.
        eventually(lambda: valkey.client.xlen(keys.cancels("fake")) == DROPPED, GENEROUS_S, "cancels are missing")
        eventually(lambda: valkey.client.xlen(queue) <= SEQUENCES, GENEROUS_S, "cancelled requests wait on")
        with ThreadPoolExecutor(1) as pool:
            live = {"messages": [{"role": "user", "content": "live"}], "max_tokens": 1}
            answer = pool.submit(httpx.post, f"{url}/v1/chat/completions", json=live, timeout=60, trust_env=False)
            eventually(lambda: valkey.client.xlen(queue) > 0, 60, "the live caller's request was not queued")
            runtime.gate.set()
            assert answer.result(60).status_code == 200
    assert len(runtime.admitted) <= SEQUENCES + 1, "requests that nobody reads were computed"
    assert runtime.steps <= 4, "the step that ran, one until the cancels count, the live caller's own; one to spare"


def test_cancels_of_streams_closed_at_once_share_a_round_trip(
    shared_gateway: tuple[str, GatewayState], valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for one another's end, nor for an event of the worker: for turns of the loop alone."""
    keys, (url, gateway) = Keys(), shared_gateway
    departures = gateway.broker._departures
    with gated(valkey, runtime := Gated()):
        senders = [opened(url, f"dropped {number}") for number in range(DROPPED)]
        eventually(lambda: valkey.client.xlen(keys.queue("fake", "interactive")) == DROPPED, 60, "not all are queued")
        eventually(runtime.stepping.is_set, 60, "the worker does not step")
        assert gateway.broker._multiplexer._task is not None
        loop = gateway.broker._multiplexer._task.get_loop()
        store = CountingStore(departures._store, loop)
        monkeypatch.setattr(departures, "_store", store)

        def noticed(turns: int) -> None:
            if turns:
                loop.call_soon(noticed, turns - 1)
            else:
                time.sleep(5 * FIRST_S)  # all resets are looked at in the turn after this one
                store.begin()

        def close() -> None:
            for sender in senders:
                sender.close()
            loop.call_soon(noticed, 3)

        loop.call_soon_threadsafe(close)
        eventually(lambda: valkey.client.xlen(keys.cancels("fake")) == DROPPED, GENEROUS_S, "cancels are missing")
        assert store.pipelines <= 2
        assert store.turns <= MOST_TURNS


def test_streams_dropped_while_they_are_submitted_are_cancelled_or_refused(
    shared_gateway: tuple[str, GatewayState], valkey: Valkey
) -> None:
    runtime, keys, url = Gated(), Keys(), shared_gateway[0]
    queue = keys.queue("fake", "interactive")
    with gated(valkey, runtime):
        before = ended(shared_gateway[1])
        for sender in [opened(url, f"dropped {number}") for number in range(DROPPED)]:
            sender.close()
        eventually(lambda: ended(shared_gateway[1]) == before + DROPPED, 60, "the gateway still holds some")
        eventually(lambda: valkey.client.xlen(queue) <= SEQUENCES, GENEROUS_S, "requests of clients that left wait on")
        runtime.gate.set()
        eventually(lambda: valkey.client.xlen(queue) == 0, 60, "requests of clients that left are computed")
    assert len(runtime.admitted) <= SEQUENCES
