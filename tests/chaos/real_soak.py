"""The soak over a real model: two workers with panda-mini in float32, while every kill point comes in turn.

    python -m tests.chaos.real_soak --minutes 20 --at-once 3 --out benchmarks/results

A kill point is a store command of a gateway or of a worker, counted from a moment under load, at which its connection
breaks, its answer is lost, it stands still, or its process is killed, before or after it (`kill_points.py`). Between
them processes are killed, frozen and replaced, and the store too. Each question was asked once before, undisturbed;
every later answer is compared with that one word for word.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import platform
import random
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import callers
from tests.chaos.house import ROOT, House, Slot, house, is_ready
from tests.chaos.kill_points import FATAL, POINTS, Proxies, proxies
from tests.chaos.mischief import DEEDS, Mischief
from tests.chaos.soak import Report, disturbed, write
from tests.chaos.store_proxy import Harm
from tests.contract import made

MODEL = ROOT / "models" / "panda-mini"
QUESTIONS = 60
TOKENS = 16
GATEWAYS, WORKERS = 3, 2
HARM_S = 30.0  # for a process to come to the command that is harmed
PLAIN = {"kill worker": 3, "roll worker": 3, "freeze worker": 3, "kill gateway": 3, "roll gateway": 3}
STORE = {"freeze store": 5, "kill store": 5}


def body_of(number: int) -> dict[str, Any]:
    """Request `number` asks one of `QUESTIONS`: every third for two choices, every fourth whole, every fifth of a
    picture."""
    which = number % QUESTIONS
    words = f"Tell me a story about number {which}."
    picture = {"type": "image_url", "image_url": {"url": made.data_url(made.PNG)}}
    content: Any = [{"type": "text", "text": words}, picture] if which % 5 == 0 else words
    return {
        "messages": [{"role": "user", "content": content}],
        "max_tokens": TOKENS,
        "ignore_eos": True,
        "temperature": 1.0,
        "seed": which,
        "n": 2 if which % 3 == 0 else 1,
        "stream": which % 4 != 0,
    }


@dataclass
class EveryKillPoint:
    """Runs until each point was visited and the time is over. The first gateway and the first worker stay.

    Points that kill come last: a worker that was killed takes minutes to load, in which the others would wait.
    """

    house: House
    proxies: Proxies
    seconds: float
    every_s: float
    most_s: float
    done: Counter[str] = field(default_factory=Counter)
    over: bool = False

    def __post_init__(self) -> None:
        self._plain = Mischief(self.house, self.every_s, PLAIN)
        self._chance = random.Random(1)
        self._queues = {
            "worker": self._mixed(POINTS, [name for name in PLAIN if "worker" in name]),
            "gateway": self._mixed(POINTS, [name for name in PLAIN if "gateway" in name]),
            "store": deque(itertools.chain.from_iterable([name] * count for name, count in STORE.items())),
        }
        self._among = {"worker": self.house.workers[1:], "gateway": self.house.gateways[1:]}

    async def run(self) -> None:
        began = time.monotonic()
        spread = self.seconds / sum(STORE.values())
        stores = 0
        while not self._is_over(began):
            await asyncio.sleep(self.every_s * self._chance.uniform(0.5, 1.5))
            await asyncio.to_thread(self.house.revive)
            if self._queues["store"] and time.monotonic() - began > stores * spread:
                stores += 1
                await self._do("store", self._queues["store"].popleft())
                continue
            for kind in ("worker", "gateway"):
                if self._queues[kind] and await asyncio.to_thread(self._is_ready, kind):
                    await self._do(kind, self._queues[kind].popleft())
        self.over = True
        await asyncio.Event().wait()

    @property
    def undone(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def _is_over(self, began: float) -> bool:
        late = time.monotonic() - began
        return late > self.seconds and (not any(self._queues.values()) or late > self.most_s)

    def _mixed(self, points: tuple[tuple[int, Harm], ...], plain: list[str]) -> "deque[Any]":
        mixed: list[Any] = [*points, *itertools.chain.from_iterable([name] * PLAIN[name] for name in plain)]
        self._chance.shuffle(mixed)
        return deque(sorted(mixed, key=_restarts))

    def _is_ready(self, kind: str) -> bool:
        with contextlib.suppress(Exception):
            if kind == "gateway":
                return all(is_ready(address) for address in self.house.addresses())
            return {slot.pid for slot in self.house.workers} <= self.house.announced()
        return False

    async def _do(self, kind: str, deed: Any) -> None:
        if isinstance(deed, str):
            await DEEDS[deed](self._plain)
            self.done[deed] += 1
            return
        slot, (at, harm) = self._chance.choice(self._among[kind]), deed
        if await self._harm(slot, at, harm):
            self.done[f"{harm} at a {kind}'s command"] += 1
        else:
            self._queues[kind].append(deed)

    async def _harm(self, slot: Slot, at: int, harm: Harm) -> bool:
        """Whether the process came to that command."""
        self.proxies.arm(slot.name, at, harm)
        until = time.monotonic() + HARM_S
        await asyncio.sleep(0.05)
        while not self.proxies.harmed(slot.name):
            if time.monotonic() > until:
                self.proxies.arm(slot.name, 0, "cut")
                return False
            await asyncio.sleep(0.02)
        if harm in FATAL:
            await asyncio.to_thread(slot.end, signal.SIGKILL)
            self.proxies.arm(slot.name, 0, "cut")
            await asyncio.sleep(0.1)
            slot.start()
        return True


def _restarts(deed: Any) -> bool:
    """Whether a process has to start anew after it."""
    return not deed.startswith("freeze") if isinstance(deed, str) else deed[1] in FATAL


async def real_soak(
    building: House, between: Proxies, minutes: float, most_minutes: float, at_once: int, every_s: float
) -> Report:
    undisturbed = await callers.load(building.addresses(), range(QUESTIONS), at_once, body_of)
    assert all(one.ends == 1 and one.error is None for one in undisturbed.values()), undisturbed
    deeds = EveryKillPoint(building, between, 60 * minutes, every_s, 60 * most_minutes)

    def numbers() -> Iterator[int]:
        return itertools.takewhile(lambda _: not deeds.over, itertools.count(QUESTIONS))

    load = callers.load(building.addresses(), numbers(), at_once, body_of, pause_s=0.5)
    return await disturbed(building, deeds, load, lambda number: undisturbed[number % QUESTIONS].texts)


def main() -> int:
    parser = argparse.ArgumentParser(description="Requests to a real model while things go wrong.")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--most-minutes", type=float, default=120.0, help="even where a point was not visited")
    parser.add_argument("--at-once", type=int, default=3)
    parser.add_argument("--every", type=float, default=2.0, help="seconds between disturbances, on average, at least")
    parser.add_argument("--fake", action="store_true", help="a fake model, to try the soak itself")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, proxies() as between:
        names = {"gateways": GATEWAYS, "workers": WORKERS}
        with house(Path(folder), **names, model=None if given.fake else MODEL, reached=between.reached) as building:
            report = asyncio.run(
                real_soak(building, between, given.minutes, given.most_minutes, given.at_once, given.every)
            )
    conditions = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{len(os.sched_getaffinity(0))} CPU core(s) of {os.cpu_count()}, {platform.system()} "
        f"{platform.machine()}, other work beside",
        "model": f"{MODEL.name}, float32",
        **names,
        "at once": given.at_once,
    }
    return write(report, conditions, given.out, "soak-real")


if __name__ == "__main__":
    sys.exit(main())
