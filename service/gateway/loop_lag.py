"""How late the event loop is: every open stream waits for whatever holds it up."""

import asyncio
import time

from prometheus_client import Histogram

INTERVAL = 0.25  # seconds between looks


async def measure_lag(histogram: Histogram, interval: float = INTERVAL) -> None:
    """Until cancelled."""
    while True:
        due = time.perf_counter() + interval
        await asyncio.sleep(interval)
        histogram.observe(max(0.0, time.perf_counter() - due))
