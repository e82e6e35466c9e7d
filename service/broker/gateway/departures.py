"""Clients that leave: their requests are cancelled, all of one moment together, beside all other work of this gateway.

Until a worker has the notice it computes for nobody, and the next request waits behind that. So the notices wait for no
task that has to end first and for no place in the pool: they have a connection of their own, and those that come while
one round trip is under way share the next.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from service.broker import scripts
from service.broker.connection import AsyncStore, store_errors
from service.broker.errors import StoreUnavailable
from service.broker.gateway.readers import Readers
from service.broker.gateway.request_record import TOMBSTONE_LIFE, RequestRecord, RequestRecords, TerminalEvents
from service.broker.keys import CANCELS_KEPT, QUEUE_LIFE, Keys
from service.broker.protocol import Done, Request

log = logging.getLogger(__name__)
PAUSE = 0.5  # seconds until a store that failed is tried again
PATIENCE = 30.0  # seconds that a departure is tried for
QUIET_TURNS, MOST_TURNS = 4, 64  # of the loop, without and with others of the same moment
CLOSING = 2.0  # seconds that the last ones have when the gateway ends


@dataclass(frozen=True, slots=True, eq=False)
class _Departure:
    """`submitted`: the creation time of a submit whose outcome is unknown, as the record writes it; '' for a reader."""

    record: RequestRecord
    submitted: str = ""
    name: str = field(default_factory=lambda: secrets.token_hex(8))
    until: float = field(default_factory=lambda: time.monotonic() + PATIENCE)
    answer: "asyncio.Future[Readers | None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Departures:
    """`store`: a connection that nothing else uses."""

    def __init__(self, store: AsyncStore, keys: Keys, records: RequestRecords, terminal: TerminalEvents) -> None:
        self._store, self._keys, self._records, self._terminal = store, keys, records, terminal
        self._waiting: list[_Departure] = []
        self._sending: asyncio.Task[None] | None = None

    def reader(self, record: RequestRecord) -> "asyncio.Future[Readers | None]":
        """A client that read the request left. It is cancelled unless others read, or it lives on without any.

        The counts after that; None for a request that is gone, or where the store did not answer for `PATIENCE`.
        """
        return self._add(_Departure(record, name=record.reader or secrets.token_hex(8)))

    def submit(self, request: Request) -> None:
        """A submit was given up, and its outcome is unknown: cancel the request, or refuse it where it comes late."""
        record = RequestRecord(
            id=request.id,
            tenant=request.tenant,
            model=request.model,
            priority=request.priority,
            created=request.created,
            deadline=request.deadline,
            entry=b"",
        )
        self._add(_Departure(record, submitted=repr(request.created)))

    async def sent(self) -> None:
        """Return once the store has all that was to be sent when this was called, or nobody tries any more."""
        while self._sending is not None and not self._sending.done():
            await asyncio.wait([self._sending])

    async def close(self) -> None:
        """Send what waits, as far as the store takes it, and disconnect."""
        if self._sending is not None:
            await asyncio.wait([self._sending], timeout=CLOSING)
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        await self._store.aclose()

    def _add(self, departure: _Departure) -> "asyncio.Future[Readers | None]":
        self._waiting.append(departure)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send(), name="departures")
        return departure.answer

    async def _send(self) -> None:
        while self._waiting:
            await self._gathered()
            leaving, self._waiting = self._waiting, []
            try:
                await self._send_all(leaving)
            except StoreUnavailable as error:
                self._waiting = self._still_tried(leaving, error) + self._waiting
                await asyncio.sleep(PAUSE)

    async def _gathered(self) -> None:
        """Once the loop has turned a few times and brought no more: clients that close at once are noticed over several
        turns, and between them and the answer of a first round trip their requests' own ends would be worked off."""
        known, quiet = 0, 0
        for _ in range(MOST_TURNS):
            quiet = quiet + 1 if known == len(self._waiting) else 0
            if quiet == QUIET_TURNS:
                return
            known = len(self._waiting)
            await asyncio.sleep(0)

    async def _send_all(self, leaving: Sequence[_Departure]) -> None:
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            for departure in leaving:
                pipe.execute_command(*self._command(departure))
            answers = await pipe.execute()
        cancelled = [each for each, answer in zip(leaving, answers, strict=True) if answer[0] == b"cancelled"]
        entries = {each.record.id: bytes(answer[4]) for each, answer in zip(leaving, answers, strict=True)}
        # Only the first entry of a stream can have attempt 1: if it is taken, a worker has the request and ends it.
        waiting = [each.record.at(entries[each.record.id]) for each in cancelled]
        await self._terminal.write_each(waiting, attempt=1, end=Done(cancelled=True, at=time.time()))
        for departure, answer in zip(leaving, answers, strict=True):
            known = answer[0] != b"unknown"
            _settle(departure, Readers(int(answer[1]), int(answer[2]), float(answer[3])) if known else None)

    def _command(self, departure: _Departure) -> tuple[Any, ...]:
        record = departure.record
        names = (self._keys.record(record.id), self._keys.cancels(record.model))
        lives = (self._records.life(record.deadline), CANCELS_KEPT, QUEUE_LIFE)
        submitted = (departure.submitted, TOMBSTONE_LIFE if departure.submitted else 0)
        repeats = (round(time.time()), 2 * round(PATIENCE))
        rest = (*lives, *submitted, *repeats, int(bool(record.reader)))
        return ("EVAL", scripts.DEPART, len(names), *names, record.id, departure.name, *rest)

    def _still_tried(self, leaving: Sequence[_Departure], error: StoreUnavailable) -> list[_Departure]:
        now = time.monotonic()
        for departure in leaving:
            if departure.until <= now:
                extra = {"request_id": departure.record.id, "error": error.code, "reason": error.advice}
                log.warning("a request of a client that left could not be cancelled", extra=extra)
                _settle(departure, None)
        return [departure for departure in leaving if departure.until > now]


def _settle(departure: _Departure, readers: Readers | None) -> None:
    if not departure.answer.done():  # its waiting task may be gone
        departure.answer.set_result(readers)
