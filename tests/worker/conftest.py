"""A gateway's connection to an empty store."""

from collections.abc import AsyncIterator

import pytest

from service.broker.gateway.client import Broker
from tests.conftest import Valkey


@pytest.fixture
async def broker(valkey: Valkey) -> AsyncIterator[Broker]:
    client = Broker.connect(valkey.settings)
    yield client
    await client.close()
