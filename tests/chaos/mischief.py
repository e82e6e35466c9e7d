"""Faults during a run, one every while, chosen by chance from a table."""

import asyncio
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.chaos.house import House, Slot

Deed = Callable[["Mischief"], Awaitable[None]]


@dataclass
class Mischief:
    """Disturbs a house until cancelled. The first gateway and the first worker stay: their memory is measured."""

    house: House
    every_s: float
    weights: dict[str, int]
    seed: int = 1
    done: Counter[str] = field(default_factory=Counter)
    undone: int = 0  # it does as many as there is time for

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    async def run(self) -> None:
        names, weights = list(self.weights), list(self.weights.values())
        while True:
            await asyncio.sleep(self.every_s * self._chance.uniform(0.5, 1.5))
            await asyncio.to_thread(self.house.revive)
            (name,) = self._chance.choices(names, weights)
            await DEEDS[name](self)
            self.done[name] += 1

    def worker(self) -> Slot:
        return self._chance.choice(self.house.workers[1:])

    def gateway(self) -> Slot:
        return self._chance.choice(self.house.gateways[1:])

    async def replace(self, slot: Slot, how: signal.Signals) -> None:
        """End what runs there and start it anew."""
        try:
            await asyncio.to_thread(slot.end, how)
        except subprocess.TimeoutExpired:
            await asyncio.to_thread(slot.end)
        slot.start()

    async def pause(self, slot: Slot, seconds: float) -> None:
        slot.send(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        slot.send(signal.SIGCONT)

    def seconds(self, least: float, most: float) -> float:
        return self._chance.uniform(least, most)


async def _kill_worker(ours: Mischief) -> None:
    await ours.replace(ours.worker(), signal.SIGKILL)


async def _roll_worker(ours: Mischief) -> None:
    await ours.replace(ours.worker(), signal.SIGTERM)


async def _freeze_worker(ours: Mischief) -> None:
    await ours.pause(ours.worker(), ours.seconds(1.7, 3.5))  # longer than it takes to be given up


async def _kill_gateway(ours: Mischief) -> None:
    await ours.replace(ours.gateway(), signal.SIGKILL)


async def _roll_gateway(ours: Mischief) -> None:
    await ours.replace(ours.gateway(), signal.SIGTERM)


async def _freeze_store(ours: Mischief) -> None:
    await ours.pause(ours.house.store, ours.seconds(0.5, 5.0))


async def _kill_store(ours: Mischief) -> None:
    await ours.replace(ours.house.store, signal.SIGKILL)
    await asyncio.to_thread(ours.house.wait_for_store)


DEEDS: dict[str, Deed] = {
    "kill worker": _kill_worker,
    "roll worker": _roll_worker,
    "freeze worker": _freeze_worker,
    "kill gateway": _kill_gateway,
    "roll gateway": _roll_gateway,
    "freeze store": _freeze_store,
    "kill store": _kill_store,
}
