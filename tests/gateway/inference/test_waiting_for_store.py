"""A request of every kind waits for a store that is away for a moment, whichever step comes upon it."""

from typing import Any

import httpx
import pytest

from service.broker.errors import StoreUnavailable
from tests.conftest import Valkey
from tests.contract.test_audio import sound
from tests.fakes import FakeRecogniser, worker_thread
from tests.gateway.conftest import make_settings, serving

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


def ask(url: str, path: str) -> httpx.Response:
    method = "POST" if REQUESTS[path] else "GET"
    return httpx.request(method, f"{url}{path}", timeout=30, trust_env=False, **REQUESTS[path])


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
