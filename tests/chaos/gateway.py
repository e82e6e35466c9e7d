"""A gateway process that also measures how long its event loop stands still: `python -m tests.chaos.gateway FILE`.

Its settings come from the environment. Twice a second FILE gets the longest pause between two looks at the clock: by
the wall, which counts what other processes take too, and by the loop's own processor time, which does not.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop

from service import logs, settings
from service.gateway import server

TICK = 0.02  # seconds


async def meter(file: Path) -> None:
    """Write the longest pauses so far, in seconds, for as long as the loop runs."""
    worst = {"wall": 0.0, "own": 0.0}
    written = 0.0
    while True:
        began, busy = time.monotonic(), time.thread_time()
        await asyncio.sleep(TICK)
        worst["wall"] = max(worst["wall"], time.monotonic() - began - TICK)
        worst["own"] = max(worst["own"], time.thread_time() - busy)
        if began - written > 0.5:
            file.write_text(json.dumps(worst))
            written = began


async def serve(chosen: settings.Settings, file: Path) -> None:
    """Until a signal has drained it."""
    made = server.make(chosen)
    server.quiet_collector()  # as `server.serve` does before it runs
    serving = asyncio.create_task(made.serve())
    while not made.started:  # imports and builds at the start stall nobody
        await asyncio.sleep(TICK)
    metering = asyncio.create_task(meter(file))
    await serving
    metering.cancel()


def main() -> None:
    chosen = settings.load({})
    logs.configure("error", "text", "gateway")
    uvloop.run(serve(chosen, Path(sys.argv[1])))


if __name__ == "__main__":
    main()
