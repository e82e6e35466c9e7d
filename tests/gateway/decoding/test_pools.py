"""The second pool: its children read what only large libraries read, behind the same lock."""

from collections.abc import AsyncIterator

import numpy as np
import pytest

from pandagpt_core import media
from pandagpt_core.media import samples
from pandagpt_core.media.clouds import samples as clouds
from service.gateway.decoding.pool import DecodePools, PoolOptions, child_command

LIMITS = media.Limits()
POINTS = "points-8192-v1"
PCD = b"VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 2\nHEIGHT 1\nPOINTS 2\n"


@pytest.fixture
async def pools() -> AsyncIterator[DecodePools]:
    pools = DecodePools(PoolOptions(child_command(1536 << 20, LIMITS), processes=1))
    await pools.start()
    yield pools
    await pools.close()


async def test_clouds_of_every_kind_are_read_behind_the_lock_as_in_this_process(pools: DecodePools) -> None:
    plain = [samples.npy(np.eye(3)), PCD + b"DATA ascii\n0 0 1\n1 1 0\n", PCD + b"DATA binary\n" + bytes(range(24))]
    for data in [*clouds.files(), samples.cloud(), samples.cloud_lines(), *plain]:
        there = await pools.decode(POINTS, data, {})
        np.testing.assert_array_equal(there, media.load(POINTS, data, {}, LIMITS))
