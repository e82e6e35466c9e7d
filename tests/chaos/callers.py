"""Callers who do what a good client does: come back on any gateway, with the same key or the last event's id."""

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpx

from pandagpt_core.types import Conversation, SamplingParams, Turn
from tests.chaos.checker import DRAINING, Outcome
from tests.fakes import expected_text

GIVE_UP_S = 120.0
PAUSE_S = 0.2
TOKENS = 24


class TryAgain(Exception):
    """Turned away for now, or cut off."""


def body_of(number: int) -> dict[str, Any]:
    """Request `number`: every third has two choices, every fourth is not streamed."""
    return {
        "messages": [{"role": "user", "content": f"request {number} of many"}],
        "max_tokens": TOKENS,
        "seed": number,
        "n": 2 if number % 3 == 0 else 1,
        "stream": number % 4 != 0,
    }


def expected(number: int) -> list[str]:
    """Answer of an undisturbed service, one text a choice."""
    body = body_of(number)
    said = Conversation((Turn("user", body["messages"][0]["content"]),), ())
    params = SamplingParams(max_tokens=TOKENS, seed=number)
    return [expected_text(said, params, choice=choice) for choice in range(body["n"])]


class Caller:
    """Sends requests to gateways chosen by chance."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        addresses: Sequence[str],
        seed: int,
        body_of: Callable[[int], dict[str, Any]] = body_of,
    ) -> None:
        self._client, self._addresses, self._body_of = client, addresses, body_of
        self._chance = random.Random(seed)

    async def ask(self, number: int) -> Outcome:
        """One request from its first sending to its end, over as many connections as it takes."""
        body = self._body_of(number)
        outcome = Outcome(number, "stream" if body["stream"] else "whole", texts=[""] * body["n"])
        began = time.monotonic()
        while outcome.ends == 0 and time.monotonic() - began < GIVE_UP_S:
            outcome.connections += 1
            at = time.monotonic()
            try:
                await self._try(body, outcome)
            except (httpx.HTTPError, TryAgain) as error:
                outcome.waits.append(f"{type(error).__name__} after {time.monotonic() - at:.1f}")
                await asyncio.sleep(PAUSE_S * self._chance.random())
        outcome.seconds = time.monotonic() - began
        return outcome

    async def _try(self, body: dict[str, Any], outcome: Outcome) -> None:
        address = self._chance.choice(list(self._addresses))
        key = {"idempotency-key": f"k{outcome.number}"}
        if not body["stream"]:
            answer = await self._client.post(f"{address}/v1/chat/completions", json=body, headers=key)
            _check(answer.status_code, answer.text, outcome)
            if outcome.error is None:
                outcome.texts = [choice["message"]["content"] for choice in answer.json()["choices"]]
                outcome.ends += 1
            return
        if not outcome.ids:  # nothing heard yet: the same request again
            request = self._client.build_request("POST", f"{address}/v1/chat/completions", json=body, headers=key)
        else:
            last = {"last-event-id": str(outcome.ids[-1])}
            request = self._client.build_request("GET", f"{address}/v1/requests/{outcome.id}/events", headers=last)
        response = await self._client.send(request, stream=True)
        try:
            if response.status_code != 200:
                _check(response.status_code, (await response.aread()).decode(), outcome)
                return
            await self._read(response, outcome)
        finally:
            await response.aclose()

    async def _read(self, response: httpx.Response, outcome: Outcome) -> None:
        event_id = -1
        async for line in response.aiter_lines():
            if line.startswith("id: "):
                event_id = int(line[4:])
            elif line.startswith("data: "):
                _take(line[6:], outcome)
                outcome.ids.append(event_id)
        if outcome.ends == 0:
            raise TryAgain


def _take(data: str, outcome: Outcome) -> None:
    if data == "[DONE]":
        outcome.ends += 1
        return
    chunk = json.loads(data)
    if "error" in chunk and chunk["error"]["code"] == DRAINING:
        raise TryAgain
    if "error" in chunk:
        outcome.error = chunk["error"]["code"]
        return
    outcome.id = chunk["id"]
    for choice in chunk["choices"]:
        outcome.texts[choice["index"]] += choice["delta"].get("content") or ""
        outcome.finishes += choice["finish_reason"] is not None


def _check(status: int, text: str, outcome: Outcome) -> None:
    """Refusals are tried again; any other failure is this request's end."""
    if status == 200:
        return
    code = json.loads(text)["error"]["code"]
    if status in (429, 503):
        outcome.later.append(f"{status} {code}")
        raise TryAgain
    outcome.ends += 1
    outcome.error = code


async def load(
    addresses: Sequence[str],
    numbers: Iterable[int],
    at_once: int,
    body_of: Callable[[int], dict[str, Any]] = body_of,
    pause_s: float = 0.0,
) -> dict[int, Outcome]:
    """Ask all of them, `at_once` at a time, each caller after a pause."""
    waiting = iter(numbers)
    outcomes: dict[int, Outcome] = {}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    timeout = httpx.Timeout(30.0, connect=5.0)
    async with httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False) as client:

        async def work(seed: int) -> None:
            caller = Caller(client, addresses, seed, body_of)
            for number in waiting:
                outcomes[number] = await caller.ask(number)
                await asyncio.sleep(pause_s)

        await asyncio.gather(*(work(seed) for seed in range(at_once)))
    return outcomes
