"""Names that callers give to media: of their own tenant, for the last bytes, for a while."""

from collections.abc import AsyncIterator

import pytest

from service.broker.connection import connect_async
from service.broker.keys import Keys
from service.gateway.errors import GatewayError
from service.gateway.media.media_uuids import MediaUuids
from tests.conftest import Valkey


@pytest.fixture
async def names(valkey: Valkey) -> AsyncIterator[MediaUuids]:
    store = connect_async(valkey.settings)
    yield MediaUuids(store, Keys(), life_s=60.0)
    await store.aclose()


async def test_a_name_stands_for_the_bytes_that_were_last_sent_with_it(names: MediaUuids) -> None:
    await names.remember("a", "cover", "11")
    await names.remember("a", "cover", "22")
    assert await names.recall("a", "cover") == "22"


async def test_a_name_is_unknown_to_another_tenant(names: MediaUuids) -> None:
    await names.remember("a", "cover", "11")
    for tenant, uuid in (("b", "cover"), ("a", "Cover"), ("a", "cover ")):
        with pytest.raises(GatewayError) as refused:
            await names.recall(tenant, uuid)
        assert refused.value.code == "invalid_media"
        assert "11" not in refused.value.message


async def test_a_name_lives_from_its_last_use_and_not_for_ever(names: MediaUuids, valkey: Valkey) -> None:
    await names.remember("a", "cover", "11")
    key = Keys().media_uuid("a", "cover")
    assert 0 < valkey.client.ttl(key) <= 61
    valkey.client.expire(key, 5)
    await names.recall("a", "cover")
    assert valkey.client.ttl(key) > 5


async def test_no_key_of_the_store_shows_a_callers_name(names: MediaUuids, valkey: Valkey) -> None:
    await names.remember("a", "a name of the caller's", "11")
    assert not [key for key in valkey.client.scan_iter() if b"caller" in key]
