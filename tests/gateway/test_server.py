"""The server under the application: a signal drains, and nothing that a request held stays."""

import asyncio
import gc
import json
import signal
from typing import Any

import httpx
import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.broker.gateway.stream_multiplexer import StreamSubscriber
from service.gateway.connections.protocol import LingeringTransport
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, worker_thread
from tests.gateway.running import running
from tests.wire import until


async def test_after_sigterm_the_gateway_is_not_ready_and_takes_requests_a_while(valkey: Valkey) -> None:
    with worker_thread(valkey.settings):
        async with running(valkey, shutdown_delay_s=1.0) as (made, port), httpx.AsyncClient(trust_env=False) as client:
            url, ask = f"http://127.0.0.1:{port}", {"messages": [{"role": "user", "content": "x"}], "max_tokens": 2}
            made.handle_exit(signal.SIGTERM, None)
            assert (await client.get(f"{url}/health/ready")).status_code == 503
            late = await client.post(f"{url}/v1/chat/completions", json=ask, timeout=20)
            assert (late.status_code, late.headers["connection"]) == (200, "close")
            assert not made._app.state.gateway.leaving.is_set()
            await until(lambda: made.should_exit)


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]])
async def test_sigint_or_a_second_signal_skips_the_delay(valkey: Valkey, signals: list[signal.Signals]) -> None:
    async with running(valkey, shutdown_delay_s=600.0) as (made, _):
        for number in signals:
            assert not made.should_exit
            made.handle_exit(number, None)
        assert made.should_exit
        assert made._app.state.gateway.terminating


async def test_a_stream_that_outlasts_the_drain_goes_on_at_another_gateway(valkey: Valkey) -> None:
    ask = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 12, "stream": True}
    ask["stream_options"] = {"include_event_ids": True}
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.2)) as worker:
        async with running(valkey) as (_, other), httpx.AsyncClient(trust_env=False, timeout=30) as client:
            async with running(valkey, drain_grace_s=1, shutdown_delay_s=0) as (made, port):
                url = f"http://127.0.0.1:{port}/v1/chat/completions"
                asked = asyncio.create_task(client.post(url, json=ask))
                await until(lambda: worker.runtime.has_work)
                made.handle_exit(signal.SIGTERM, None)
                first = (await asked).text
            *_, error, done = [line for line in first.splitlines() if line.startswith("data: ")]
            assert json.loads(error.removeprefix("data: "))["error"]["code"] == "draining"
            assert done == "data: [DONE]"
            last = [line for line in first.splitlines() if line.startswith("id: ")][-1].removeprefix("id: ")
            request = json.loads(first.splitlines()[1].removeprefix("data: "))["id"]
            again = f"http://127.0.0.1:{other}/v1/requests/{request}/events"
            rest = (await client.get(again, headers={"last-event-id": last})).text
            whole = (await client.get(again)).text
    parts = [_said(first), _said(rest)]
    assert all(parts)
    assert "".join(parts) == _said(whole)
    assert len(_said(whole).split()) == 12


def _said(stream: str) -> str:
    data = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: {")]
    chunks = [json.loads(one).get("choices", []) for one in data]
    return "".join(choice["delta"].get("content") or "" for choices in chunks for choice in choices)


async def test_a_whole_answer_that_outlasts_the_drain_is_a_503_and_is_cancelled(valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.2)) as worker:
        async with (
            running(valkey, drain_grace_s=1, shutdown_delay_s=0) as (made, port),
            httpx.AsyncClient(trust_env=False) as client,
        ):
            ask = {"messages": [{"role": "user", "content": "x"}]}
            asked = asyncio.create_task(
                client.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=ask, timeout=30)
            )
            await until(lambda: worker.runtime.has_work)
            made.handle_exit(signal.SIGTERM, None)
            heard = await asked
            assert (heard.status_code, heard.json()["error"]["code"]) == (503, "draining")
            await until(lambda: not worker.runtime.has_work)


async def test_what_a_request_held_is_freed_without_the_garbage_collector(valkey: Valkey) -> None:
    """The collector looks rarely (`server.serve`), so that nothing may wait for it."""
    held = {StreamSubscriber, LingeringTransport, RequestResponseCycle}

    def alive() -> list[Any]:
        return [
            one for one in gc.get_objects() if type(one) in held
        ]  # `isinstance` would wake other packages' stand-ins

    others = {id(one): one for one in alive()}  # of gateways that other tests keep
    with worker_thread(valkey.settings):
        async with running(valkey) as (_, port), httpx.AsyncClient(trust_env=False) as client:
            url, close = f"http://127.0.0.1:{port}/v1/chat/completions", {"connection": "close"}
            ask = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 3}
            gc.collect()
            gc.disable()
            try:
                for number in range(6):
                    done = await client.post(url, json={**ask, "stream": number % 2 == 0}, headers=close, timeout=30)
                    assert done.status_code == 200
                await until(lambda: all(id(one) in others for one in alive()), what="their end")
            finally:
                gc.enable()
