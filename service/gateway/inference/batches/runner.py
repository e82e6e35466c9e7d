"""Runs batches: the gateway that holds the lease, a few lines at a time, each line's result written once.

A gateway that dies leaves its lease to the next after LEASE_S. That one skips the lines that have a result; a line that
was running has an idempotency key, by which it joins the request that still runs or has ended.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from service.broker.errors import BrokerError, StoreUnavailable
from service.broker.gateway.batches import ENDED, LEASE_S, BatchProgress, BatchStatus, BatchStore, StoredBatch
from service.broker.gateway.request_record import RequestRecord
from service.gateway.access.auth import Caller
from service.gateway.access.rate_limit import UsageMeter
from service.gateway.errors import GatewayError, error_object, from_core
from service.gateway.inference.batches.lines import BatchLine, checked, read_line, split_lines
from service.gateway.inference.batches.requests import BatchCall, answer_line
from service.gateway.inference.service import RequestService
from service.gateway.inference.validated import RequestLimits
from service.gateway.json_answer import json_bytes
from service.gateway.media.files import FileStore
from service.gateway.media.sources import MediaSources

log = logging.getLogger(__name__)
LOOK_S = 1.0  # seconds between looks for new batches, cancelled ones and the lease
RETRY_S = 2.0  # seconds until a line is tried again that found the queue full or no worker
AT_ONCE = 4  # batches
CHUNK = 256  # lines whose results are read at a time
_PASSING = (429, 503)


@dataclass(slots=True)
class BatchRunner:
    """`sources` gives what the links of one tenant's request may point to; `lines` run at once of each batch, each by
    `answer`."""

    batches: BatchStore
    files: FileStore
    service: RequestService
    limits: RequestLimits
    usage: UsageMeter
    sources: Callable[[str], MediaSources]
    lines: int
    answer: Callable[[BatchCall, str, bytes], Awaitable[dict[str, Any]]] = answer_line
    retry_s: float = RETRY_S
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def follow(self) -> None:
        """Until cancelled; the lease is let go then."""
        try:
            while True:
                try:
                    await self._look()
                except BrokerError as error:
                    log.warning("batches cannot be looked for", extra={"code": error.code})
                await asyncio.sleep(LOOK_S)
        finally:
            await self._stop()

    async def _look(self) -> None:
        waiting = await self.batches.unfinished()
        if not waiting and not self._tasks:
            return
        if not await self.batches.hold(self.name):
            await self._stop()
            return
        for batch_id in [one for one, task in self._tasks.items() if task.done()]:
            del self._tasks[batch_id]
        for batch_id in waiting:
            if batch_id not in self._tasks and len(self._tasks) < AT_ONCE:
                self._tasks[batch_id] = asyncio.create_task(self._run(batch_id), name=f"batch {batch_id}")

    async def _stop(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        try:
            await self.batches.let_go(self.name)
        except StoreUnavailable:
            log.info("the lease of batches ends by itself", extra={"seconds": LEASE_S})

    async def _run(self, batch_id: str) -> None:
        try:
            found = await self.batches.find(batch_id)
            if found is None or found[1].status in ENDED:
                await self.batches.forget(batch_id)
                return
            await self._advance(*found)
        except StoreUnavailable as error:
            log.warning("a batch waits for the store", extra={"code": error.code})
        except GatewayError as error:
            await self._refuse(batch_id, [{"code": error.code, "message": error.message, "param": None, "line": None}])
        except Exception:
            log.exception("a batch failed")
            words = "The server failed to run the batch."
            await self._refuse(batch_id, [{"code": "internal_error", "message": words, "param": None, "line": None}])

    async def _refuse(self, batch_id: str, errors: list[dict[str, Any]]) -> None:
        await self.batches.advance(batch_id, "failed", errors=msgspec.json.encode(errors))

    async def _advance(self, batch: StoredBatch, progress: BatchProgress) -> None:
        """From the status that it has to its end. A cancel may come between any two steps: then the status stays
        `cancelling` until the files are written."""
        status: BatchStatus | None = progress.status
        if status == "validating":
            total, errors = await checked(self._pieces(batch), batch.endpoint)
            if errors:
                await self._refuse(batch.id, errors)
                return
            status = await self.batches.advance(batch.id, "in_progress", total=total)
        if status == "in_progress":
            await self._lines(batch)
            status = await self.batches.advance(batch.id, "finalizing")
        if status in ("finalizing", "cancelling"):
            await self._finish(batch, status)

    async def _finish(self, batch: StoredBatch, status: BatchStatus) -> None:
        expired = status == "finalizing" and await self._is_unfinished(batch)
        completed = await self._write(batch, "output", expired=False)
        failed = await self._write(batch, "error", expired=expired)
        end: BatchStatus = "cancelled" if status == "cancelling" else "expired" if expired else "completed"
        await self.batches.advance(batch.id, end, completed=completed, failed=failed)

    async def _lines(self, batch: StoredBatch) -> None:
        """Run what has no result yet, until all have one, or the batch is cancelled or expires: then what runs ends."""
        running = dict[int, RequestRecord]()
        lines = asyncio.create_task(self._run_lines(batch, running))
        stopped = asyncio.create_task(self._until_stopped(batch))
        try:
            done, _ = await asyncio.wait({lines, stopped}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (lines, stopped):
                task.cancel()
            await asyncio.gather(lines, stopped, return_exceptions=True)
        for record in running.values():
            with suppress(BrokerError):  # it ends by itself
                await self.service.broker.cancel_record(record)

    async def _run_lines(self, batch: StoredBatch, requests: dict[int, RequestRecord]) -> None:
        slots, running = asyncio.Semaphore(self.lines), set[asyncio.Task[None]]()
        try:
            async for line in self._open_lines(batch, self.lines):
                await slots.acquire()
                task = asyncio.create_task(self._line(batch, line, requests))
                running.add(task)
                task.add_done_callback(running.discard)
                task.add_done_callback(lambda _: slots.release())
            if running:
                await asyncio.wait(running)
        finally:
            for task in list(running):
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _until_stopped(self, batch: StoredBatch) -> None:
        while time.time() <= batch.expires:
            found = await self.batches.find(batch.id)
            if found is None or found[1].status != "in_progress":
                return
            await asyncio.sleep(LOOK_S)

    async def _is_unfinished(self, batch: StoredBatch) -> bool:
        """Whether some line has no result."""
        async with aclosing(self._open_lines(batch, CHUNK)) as lines:
            return await anext(lines, None) is not None

    async def _open_lines(self, batch: StoredBatch, at_once: int) -> AsyncGenerator[BatchLine, None]:
        """The lines without a result, in order; so many are looked up at once."""
        chunk: list[BatchLine] = []
        async for number, raw in split_lines(self._pieces(batch)):
            chunk.append(read_line(number, raw, batch.endpoint))
            if len(chunk) >= at_once:
                for line in await self._undone(batch, chunk):
                    yield line
                chunk = []
        for line in await self._undone(batch, chunk):
            yield line

    async def _undone(self, batch: StoredBatch, chunk: list[BatchLine]) -> list[BatchLine]:
        done = await self.batches.have(batch.id, [line.number for line in chunk])
        return [line for line, has in zip(chunk, done, strict=True) if not has]

    async def _line(self, batch: StoredBatch, line: BatchLine, requests: dict[int, RequestRecord]) -> None:
        """Run the line until it has an answer or a lasting refusal, and write that down; its tokens are the key's.
        Meanwhile its request is in `requests`."""
        group, weight = batch.cache_group, batch.weight
        caller = Caller(batch.name, batch.tenant, frozenset(), batch.share, cache_group=group, weight=weight)
        key, started = f"{batch.id}/{line.number}", partial(requests.__setitem__, line.number)
        call = BatchCall(self.service, caller, self.sources(batch.tenant), self.limits, key, started)
        while True:
            await self._await_tokens(batch.tenant)
            body, status = await self._answered(call, line, batch.id)
            requests.pop(line.number, None)
            if status not in _PASSING:
                break
            await asyncio.sleep(self.retry_s)
        result = await json_bytes(
            _result(batch, line.number, line.custom_id, {"status_code": status, "body": body}, None)
        )
        if await self._record(batch, line, result, failed=status != 200):
            await self.usage.charge(batch.tenant, batch.key_class, *_tokens(body))

    async def _answered(self, call: BatchCall, line: BatchLine, batch_id: str) -> tuple[dict[str, Any], int]:
        try:
            await self._check_size(batch_id)
            return await self.answer(call, line.url, line.body), 200
        except BrokerError as error:
            return _refusal(from_core(error))
        except GatewayError as error:
            return _refusal(error)
        except Exception:
            log.exception("a line of a batch failed")
            return _refusal(GatewayError("internal_error", "The server failed to handle the request."))

    async def _check_size(self, batch_id: str) -> None:
        """Raises `too_large` once the results of a batch hold as much as all files of a key may."""
        held, limit = await self.batches.result_bytes(batch_id), self.files.quota.bytes
        if held > limit:
            raise GatewayError("too_large", f"The batch's results hold {held} bytes; the limit is {limit}.")

    async def _await_tokens(self, tenant: str) -> None:
        """Return once the key's tokens a minute are not used up: a batch waits where a direct request is refused."""
        while (wait_s := await self.usage.limiter.token_wait(tenant)) > 0:
            await asyncio.sleep(wait_s)

    async def _record(self, batch: StoredBatch, line: BatchLine, result: bytes, failed: bool) -> bool:
        """Whether this was the line's first result."""
        tried_before = False
        while True:
            try:
                return await self.batches.record(batch, line.number, result, failed, tried_before)
            except StoreUnavailable:
                tried_before = True
                await asyncio.sleep(self.retry_s)

    async def _write(self, batch: StoredBatch, kind: str, expired: bool) -> int:
        """The file of outputs or of errors, in the order of the lines, none where there are none; how many."""
        file_id = batch.output_file if kind == "output" else batch.error_file
        lines = self._results(batch, kind[0].encode(), expired)
        return await self.files.write(batch.tenant, file_id, f"{batch.id}_{kind}.jsonl", "batch_output", lines)

    async def _results(self, batch: StoredBatch, mark: bytes, expired: bool) -> AsyncIterator[bytes]:
        chunk: list[tuple[int, str]] = []
        async for one in split_lines(self._pieces(batch)):
            chunk.append((one[0], read_line(*one, batch.endpoint).custom_id))
            if len(chunk) >= CHUNK:
                async for line in self._of_chunk(batch, chunk, mark, expired):
                    yield line
                chunk = []
        async for line in self._of_chunk(batch, chunk, mark, expired):
            yield line

    async def _of_chunk(
        self, batch: StoredBatch, chunk: list[tuple[int, str]], mark: bytes, expired: bool
    ) -> AsyncIterator[bytes]:
        found = self.batches.results(batch.id, [number for number, _ in chunk])
        lines = iter(chunk)
        async for result in found:
            number, custom_id = next(lines)
            if result is None and expired:
                words = {"code": "batch_expired", "message": "The batch's window ended before this request."}
                yield msgspec.json.encode(_result(batch, number, custom_id, None, words)) + b"\n"
            elif result is not None and result[:1] == mark:
                yield b"".join((memoryview(result)[1:], b"\n"))

    async def _pieces(self, batch: StoredBatch) -> AsyncIterator[bytes]:
        info = await self.files.info(batch.tenant, batch.input_file)
        async for piece in self.files.pieces(batch.tenant, info):
            yield piece


def _refusal(error: GatewayError) -> tuple[dict[str, Any], int]:
    return error_object(error), error.row.status


def _tokens(answer: dict[str, Any]) -> tuple[int, int]:
    """Of the prompt and of what was made, by either shape of OpenAI's usage."""
    usage = answer.get("usage") or {}
    made = usage.get("completion_tokens", usage.get("output_tokens", 0))
    return usage.get("total_tokens", made) - made, made


def _result(
    batch: StoredBatch, number: int, custom_id: str, response: dict[str, Any] | None, error: dict[str, str] | None
) -> dict[str, Any]:
    name = f"batch_req_{batch.id.removeprefix('batch_')}_{number}"
    answered = None if response is None else {"request_id": name, **response}
    return {"id": name, "custom_id": custom_id, "response": answered, "error": error}
