"""Salted names, and the salt of a store that lost its data: gateways find one another's requests before and after."""

import time
from collections.abc import Callable
from typing import Any

import httpx

from service.broker.errors import StoreUnavailable
from service.broker.keys import Keys
from service.gateway.access.tenants import Tenants
from service.gateway.state import GatewayState
from tests.fakes import WorkerThread

SAID = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
StartGateway = Callable[..., tuple[str, GatewayState]]


async def test_tenants_of_other_salts_differ() -> None:
    async def stored(_known: bytes | None) -> bytes:
        return b"y"

    [a] = await Tenants(b"x", stored).named("a")
    assert await Tenants(b"x", stored).named("a", "a") == [a, a]
    others = await Tenants(None, stored).named("a", "b")
    assert len({a, *others}) == 3


async def test_a_gateway_that_has_no_salt_yet_waits_for_a_store_that_is_away() -> None:
    answers: list[bytes | StoreUnavailable] = [StoreUnavailable("away", passing=True), b"y"]

    async def stored(_known: bytes | None) -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, StoreUnavailable):
            raise answer
        return answer

    found = await Tenants(None, stored, patience_s=60).named("a")
    assert found == await Tenants(b"y", stored).named("a")


async def test_a_salt_of_the_settings_is_never_another() -> None:
    async def stored(_known: bytes | None) -> bytes:
        raise AssertionError("the store is not asked")

    tenants = Tenants(b"x", stored)
    await tenants.follow(0)
    assert await tenants.named("a") == await Tenants(b"x", stored).named("a")


def test_a_gateway_writes_its_salt_into_a_store_that_lost_it(
    start_gateway: StartGateway, worker: WorkerThread, valkey: Any
) -> None:
    earlier, _ = start_gateway()
    sent(earlier)
    salt = valkey.client.get(Keys().salt)
    valkey.client.flushall()
    until(lambda: valkey.client.get(Keys().salt) == salt)
    later, _ = start_gateway()
    for one, other in ((earlier, later), (later, earlier)):
        assert httpx.get(f"{other}/v1/requests/{sent(one)}", timeout=60).status_code == 200


def test_where_another_gateway_made_a_new_salt_all_take_it(
    start_gateway: StartGateway, worker: WorkerThread, valkey: Any
) -> None:
    earlier, _ = start_gateway()
    sent(earlier)
    valkey.client.flushall()
    valkey.client.set(Keys().salt, b"of a gateway that started first")
    later, _ = start_gateway()
    until(lambda: httpx.get(f"{later}/v1/requests/{sent(earlier)}", timeout=60).status_code == 200)
    assert httpx.get(f"{earlier}/v1/requests/{sent(later)}", timeout=60).status_code == 200


def sent(url: str) -> str:
    """The id of a request that the gateway answered."""
    answer = httpx.post(f"{url}/v1/chat/completions", json=SAID, timeout=60)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.1)
