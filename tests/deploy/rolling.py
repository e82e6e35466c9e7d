"""Many requests through a proxy while its gateways are restarted one after the other."""

import asyncio
import json
import signal

import httpx

from tests.chaos.house import House

AT_ONCE = 8
ASK = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}


async def roll(service: House) -> list[int]:
    """Restart each gateway in good order, the next once the last is ready again; their exit statuses."""
    statuses = []
    for slot in service.gateways:
        await asyncio.sleep(0.5)
        statuses.append(await asyncio.to_thread(slot.end, signal.SIGTERM))
        slot.start()
        await asyncio.to_thread(service.wait_until_ready)
    return statuses


async def send_many(url: str, least: int, beside: "asyncio.Task[list[int]]") -> list[str]:
    """Requests until there are so many and `beside` has ended; each request's outcome: ok, or what went wrong."""
    outcomes: list[str] = []

    async def caller(number: int) -> None:
        async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
            while len(outcomes) < least or not beside.done():
                outcomes.append(await one(client, stream=len(outcomes) % 2 == 0))

    await asyncio.gather(*(caller(number) for number in range(AT_ONCE)))
    return outcomes


async def one(client: httpx.AsyncClient, stream: bool) -> str:
    """Send one request; `ok`, or what went wrong."""
    try:
        answer = await client.post("/v1/chat/completions", json={**ASK, "stream": stream})
    except httpx.HTTPError as error:
        return type(error).__name__
    if answer.status_code != 200:
        return f"{answer.status_code} {answer.text[:200]}"
    whole = answer.text.rstrip().endswith("data: [DONE]") if stream else bool(answer.json()["choices"])
    failed = stream and any("error" in json.loads(one) for one in _chunks(answer.text))
    return "ok" if whole and not failed else f"cut or failed: {answer.text[-200:]}"


def _chunks(text: str) -> list[str]:
    return [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: {")]
