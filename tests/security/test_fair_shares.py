"""Threat: one tenant's work keeps every other waiting behind its whole backlog.

Measures: decoding children are shared by time used, and a spare one serves a tenant that holds none.
"""

import asyncio

from service.gateway.decoding.pool import DecodePool
from tests.gateway.decoding.test_pool import SLOW_OR_LIVE, scripted


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
