"""A worker is killed, or put to sleep, in each phase of a request: another goes on, word for word."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest

from pandagpt_core.types import SamplingParams
from service.broker.gateway.client import Broker
from service.broker.keys import Keys
from service.broker.protocol import Done, Event, Generate, Started, Token
from service.settings import StoreSettings
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, worker_process, worker_thread
from tests.wire import answer, collect, each, ends_of, generate, media, text_of

TOKENS = 30
LOST_AFTER = 0.6
BEATS = {"heartbeat_s": 0.2, "lost_after_s": LOST_AFTER}


class Case:
    """One request of one namespace, and the worker that is to be harmed."""

    def __init__(self, valkey: Valkey, name: str) -> None:
        self.settings: StoreSettings = valkey.settings.model_copy(update={"namespace": f"phase-{name}"})
        self.keys, self.client = Keys(self.settings.namespace), valkey.client
        self.broker = Broker.connect(self.settings)
        part, array = media(1)
        self.request: Generate = generate(
            media=[part], params=SamplingParams(max_tokens=TOKENS, ignore_eos=True), deadline=time.time() + 60
        )
        self.arrays = {part.blob: array}
        self.wanted = answer(self.request, [array])

    async def taken(self) -> None:
        """Until a worker has fetched the request."""
        while not self.client.exists(self.keys.events(self.request.id)):
            await asyncio.sleep(0.005)

    async def heard(self, tokens: int) -> None:
        """Until so many tokens can be read."""
        count = 0
        async with aclosing(each(self.broker, self.request)) as events:
            async for event in events:
                count += isinstance(event, Token)
                if count >= tokens:
                    return


async def _queued(case: Case) -> None:
    """A worker with no room: the request waits behind another."""


async def _encoding(case: Case) -> None:
    await case.taken()
    await asyncio.sleep(0.1)


async def _first_token(case: Case) -> None:
    await case.heard(1)


async def _later_token(case: Case) -> None:
    await case.heard(TOKENS // 2)


async def _last_token_but_one(case: Case) -> None:
    await case.heard(TOKENS - 1)


Phase = tuple[Callable[[Case], Awaitable[None]], dict[str, float]]
PHASES: dict[str, Phase] = {
    "queued": (_queued, {"step_delay": 0.02}),
    "fetched and encoding": (_encoding, {"encode_delay": 0.5}),
    "in the prompt": (_encoding, {"step_delay": 0.5}),
    "first token": (_first_token, {"step_delay": 0.02}),
    "later token": (_later_token, {"step_delay": 0.02}),
    "last token but one": (_last_token_but_one, {"step_delay": 0.05}),
}
HARMS = {"killed": signal.SIGKILL, "asleep": signal.SIGSTOP}


async def suffer(case: Case, phase: Phase, harm: signal.Signals) -> list[Event]:
    """The request's events, and how long it took from the harm on."""
    reach, delays = phase
    room = {"max_sequences": 1, "prefetch": 0} if reach is _queued else {}
    victim = worker_process(case.settings, **delays, **BEATS, **room)
    started = await asyncio.to_thread(victim.__enter__)
    try:
        if reach is _queued:
            await case.broker.submit(generate("a long one", params=SamplingParams(max_tokens=300, ignore_eos=True)))
            await asyncio.sleep(0.3)
        await case.broker.submit(case.request, case.arrays)
        async with asyncio.timeout(30):
            await reach(case)
        started.send_signal(harm)
        with worker_thread(case.settings, FakeRuntime(step_delay=0.01), **BEATS):
            events = await collect(case.broker, case.request, timeout=30)
            if harm == signal.SIGSTOP:
                started.send_signal(signal.SIGCONT)  # now it says what it still had to say
                await asyncio.sleep(0.5)
                assert await collect(case.broker, case.request) == events
                assert started.poll() is None
        return events
    finally:
        await asyncio.to_thread(victim.__exit__, None, None, None)
        await case.broker.close()


@pytest.mark.parametrize("harm", HARMS)
async def test_in_every_phase_another_worker_goes_on_word_for_word(valkey: Valkey, harm: str) -> None:
    cases = {name: Case(valkey, name.replace(" ", "-")) for name in PHASES}
    limited = asyncio.Semaphore(3)

    async def one(name: str) -> list[Event]:
        async with limited:
            return await suffer(cases[name], PHASES[name], HARMS[harm])

    outcomes = await asyncio.gather(*(one(name) for name in PHASES))
    for (name, case), events in zip(cases.items(), outcomes, strict=True):
        assert text_of(events) == case.wanted, name
        assert sum(isinstance(event, Token) for event in events) == TOKENS, name
        assert isinstance(events[-1], Done), name
        assert ends_of(events) == [events[-1]], name
        assert sum(isinstance(event, Started) for event in events) == 1, name
