"""Threat: one tenant's work keeps every other waiting behind its whole backlog.

Measures: callers take turns in the queue, by key or by address; decoding children are shared by time used, and a spare
one serves a tenant that holds none.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from service.broker.keys import Keys
from service.gateway.decoding.pool import DecodePool
from service.gateway.state import GatewayState
from service.settings import Settings
from tests.conftest import Valkey
from tests.fakes import worker_thread
from tests.gateway.conftest import serving
from tests.gateway.decoding.children import SLOW_OR_LIVE, scripted
from tests.gateway.gated import Gated, eventually, gated, opened
from tests.security.neighbours import ask, keys_in, picture

BACKLOG = 150
BUSY_S = 240  # for a machine that is busy with other things; nothing here waits so long by itself


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return keys_in(tmp_path, {"alice": "", "bob": "", "heavy": "weight=3"})


def served(valkey: Valkey, url: str, sent: Sequence[tuple[dict[str, str], str, int]], count: int) -> list[str]:
    """The texts of the first `count` requests by the order in which a worker of one sequence begins them. Each of
    `sent` is a caller, the text of its requests, and how many of them wait before the next caller sends."""
    runtime, queue = Gated(), Keys().queue("fake", "interactive")
    senders, waiting = [], 0
    with gated(valkey, runtime, sequences=1):
        for caller, text, number in sent:
            senders += [opened(url, text, 1, **caller) for _ in range(number)]
            waiting += number
            eventually(lambda all_of_them=waiting: valkey.client.xlen(queue) == all_of_them, BUSY_S, "not all wait")
            eventually(runtime.stepping.is_set, BUSY_S, "the worker does not step")
        runtime.gate.set()
        eventually(lambda: len(runtime.admitted) >= count, BUSY_S, "the requests are not served")
        for sender in senders:
            sender.close()
    return runtime.admitted[:count]


def test_a_key_with_one_request_is_served_before_another_key_s_backlog(
    valkey: Valkey, start_gateway: Callable[..., tuple[str, GatewayState]], keys_file: Path
) -> None:
    url, _ = start_gateway(keys_file=keys_file)
    alice, bob = {"key": "key-alice"}, {"key": "key-bob"}
    assert "bob" in served(valkey, url, [(alice, "alice", BACKLOG), (bob, "bob", 1)], 3)


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is an address of this machine on Linux only")
def test_without_keys_a_small_address_is_served_before_anothers_backlog(
    valkey: Valkey, shared_gateway: tuple[str, GatewayState]
) -> None:
    many, one = {"source": "127.0.0.1"}, {"source": "127.0.0.2"}
    assert "one" in served(valkey, shared_gateway[0], [(many, "many", BACKLOG), (one, "one", 1)], 3)


def test_keys_are_served_by_their_weights(
    valkey: Valkey, start_gateway: Callable[..., tuple[str, GatewayState]], keys_file: Path
) -> None:
    url, _ = start_gateway(keys_file=keys_file)
    sent = [({"key": "key-heavy"}, "heavy", 20), ({"key": "key-bob"}, "bob", 20)]
    assert served(valkey, url, sent, 16).count("heavy") == pytest.approx(12, abs=1)


@pytest.fixture
def one_child(valkey: Valkey, keys_file: Path) -> Iterator[tuple[str, GatewayState]]:
    """A gateway with keys and one decoding child, whose media may take very long."""
    settings = Settings(
        store=valkey.settings, gateway={"keys_file": keys_file}, decode={"processes": 1, "wall_s": 4 * BUSY_S}
    )
    with serving(settings) as (url, state):
        yield url, state


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="a process that can be stopped")
def test_a_key_that_holds_the_decoding_child_keeps_no_other_key_waiting(
    valkey: Valkey, one_child: tuple[str, GatewayState]
) -> None:
    """The child stands still with the first of them; the other key's picture is decoded all the same."""
    url, gateway = one_child
    pool = gateway.requests.resolver.pool._usual

    def sent(name: str, number: int) -> int:
        with httpx.Client(
            base_url=url, headers={"x-api-key": f"key-{name}"}, timeout=BUSY_S, trust_env=False
        ) as client:
            return ask(client, picture(number)).status_code

    with worker_thread(valkey.settings), ThreadPoolExecutor(10) as callers:
        eventually(lambda: len(pool._idle) == 1, BUSY_S, "no child is ready")
        (child,) = pool._children
        os.kill(child._process.pid, signal.SIGSTOP)
        try:
            backlog = [callers.submit(sent, "alice", number) for number in range(10)]
            eventually(lambda: (pool._queue.running.total(), len(pool._queue)) == (1, 9), BUSY_S, "not all wait")
            assert sent("bob", 10) == 200
            assert not any(each.done() for each in backlog)
        finally:
            os.kill(child._process.pid, signal.SIGCONT)
        assert {each.result(BUSY_S) for each in backlog} == {200}


async def test_a_tenant_whose_media_fill_the_pool_keeps_no_other_waiting() -> None:
    """The other's medium is decoded while both children still work for the first: by a spare child."""
    pool = DecodePool(scripted(SLOW_OR_LIVE, processes=2))
    await pool.start()
    try:
        hog = [asyncio.create_task(pool.decode("r", b"slow", {}, "hog")) for _ in range(10)]
        await asyncio.sleep(0)
        assert (await pool.decode("r", b"live", {}, "other")).tolist() == [1.0]
        assert not any(task.done() for task in hog)
        for task in hog:
            task.cancel()
        await asyncio.gather(*hog, return_exceptions=True)
        assert (await pool.decode("r", b"live", {}, "other")).tolist() == [1.0]
    finally:
        await pool.close()
