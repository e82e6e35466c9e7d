"""Callers who leave cost nothing: a hundred streams dropped at once, and one live caller behind them."""

from concurrent.futures import ThreadPoolExecutor

import httpx

from service.broker.keys import Keys
from service.gateway.state import GatewayState
from tests.conftest import Valkey
from tests.gateway.gated import SEQUENCES, Gated, eventually, gated, opened

DROPPED = 100
# The promise is a tenth of a second, which `benchmarks` measure. Here the machine may be busy with twenty other things;
# what this is to find took as long as the worker takes for its next prompt, which here is for ever.
GENEROUS_S = 60.0


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
