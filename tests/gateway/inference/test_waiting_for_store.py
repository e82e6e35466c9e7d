"""A request of every kind waits for a store that is away for a moment, whichever step comes upon it, and for workers
that such a store missed."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from service.broker.errors import StoreUnavailable
from service.broker.keys import Keys
from tests.conftest import Valkey
from tests.fakes import FAKE_INFO, FakeRecogniser, FakeRuntime, worker_thread
from tests.gateway.conftest import make_settings, serving
from tests.sounds import sound
from tests.wire import fall_silent

REQUESTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"json": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}},
    "/v1/generate": {"data": {"prompt": "Hi", "max_tokens": "2"}, "files": {"_": (None, b"")}},
    "/v1/embeddings": {"json": {"input": "Hi"}},
    "/tokenize": {"json": {"prompt": "Hi"}},
    "/v1/audio/transcriptions": {"files": {"file": sound(1)}},
    "/v1/models": {},
}


class AwayOnce:
    """An object whose one method finds no store at its first call."""

    def __init__(self, inner: Any, method: str) -> None:
        self._inner, self._method, self.calls = inner, method, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name != self._method:
            return found

        async def call(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            if self.calls == 1:
                raise StoreUnavailable("away", passing=True)
            return await found(*arguments, **named)

        return call


def ask(url: str, path: str, model: str | None = None) -> httpx.Response:
    method = "POST" if REQUESTS[path] else "GET"
    sent = dict(REQUESTS[path])
    if model is not None:
        body = "json" if "json" in sent else "data"
        sent[body] = {**sent.get(body, {}), "model": model}
    return httpx.request(method, f"{url}{path}", timeout=30, trust_env=False, **sent)


@pytest.mark.parametrize("path", REQUESTS)
def test_a_store_that_is_away_when_models_are_looked_up_is_waited_for(path: str, valkey: Valkey) -> None:
    with serving(make_settings(valkey)) as (url, gateway), worker_thread(valkey.settings, recogniser=FakeRecogniser()):
        away = gateway.requests.broker.registry = AwayOnce(gateway.requests.broker.registry, "models")  # type: ignore[assignment]  # a fake
        assert ask(url, path).status_code == 200
        assert away.calls > 1


@pytest.mark.parametrize("path", [path for path in REQUESTS if path != "/v1/models"])
def test_a_store_that_is_away_when_a_request_is_queued_is_waited_for(path: str, valkey: Valkey) -> None:
    with serving(make_settings(valkey)) as (url, gateway), worker_thread(valkey.settings, recogniser=FakeRecogniser()):
        away = gateway.requests.broker = AwayOnce(gateway.requests.broker, "submit")  # type: ignore[assignment]  # a fake
        assert ask(url, path).status_code == 200
        assert away.calls > 1


@pytest.mark.parametrize("path", [path for path in REQUESTS if path != "/v1/models"])
@pytest.mark.parametrize("others", [True, False], ids=["another model is live", "no other model"])
def test_a_worker_that_the_store_missed_is_waited_for(path: str, others: bool, valkey: Valkey) -> None:
    """The worker's next sign of life comes within a second; until then its model is no unknown one."""
    missed = FakeRuntime(info=replace(FAKE_INFO, id="missed"))
    with serving(make_settings(valkey)) as (url, _), contextlib.ExitStack() as workers:
        if others:
            workers.enter_context(worker_thread(valkey.settings))
        workers.enter_context(worker_thread(valkey.settings, missed, recogniser=FakeRecogniser(), heartbeat_s=1.0))
        fall_silent(valkey.client, "missed")
        assert ask(url, path, "missed").status_code == 200


@pytest.fixture
def with_a_dead_model(valkey: Valkey) -> Iterator[str]:
    """A gateway with one live model, which writes down speech, and `openai/died`, whose worker just fell silent."""
    valkey.client.zadd(Keys().models, {"openai/died": 0})
    valkey.client.zadd(Keys().ready("openai/died"), {"worker": 1})
    with serving(make_settings(valkey)) as (url, _), worker_thread(valkey.settings, recogniser=FakeRecogniser()):
        fall_silent(valkey.client, "openai/died")
        yield url


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/v1/audio/transcriptions"])
def test_a_model_whose_workers_stay_silent_is_a_503_and_no_unknown_model(with_a_dead_model: str, path: str) -> None:
    answer = ask(with_a_dead_model, path, "openai/died")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_worker")
    assert ask(with_a_dead_model, path, "nobody").status_code == 404
    assert ask(with_a_dead_model, path, "fake").status_code == 200
