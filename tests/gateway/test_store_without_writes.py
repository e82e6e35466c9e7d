"""A store that takes no writes: the gateway is not ready, a call is refused, and the log names the setting."""

import logging

import httpx
import pytest

from service.settings import Settings
from tests.conftest import Valkey
from tests.fakes import worker_thread
from tests.gateway.conftest import serving


def test_without_enough_replicas_a_gateway_is_not_ready_and_takes_no_request(
    valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    store = valkey.settings.model_copy(update={"patience_s": 0.2})
    settings = Settings(store=store, decode={"processes": 1})
    with (
        worker_thread(valkey.settings, lost_after_s=60.0),
        serving(settings) as (url, _),
        httpx.Client(base_url=url, timeout=60, trust_env=False) as http,
    ):
        chat = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 2}
        assert http.get("/health/ready").status_code == 200
        valkey.client.config_set("min-replicas-to-write", "1")
        try:
            with caplog.at_level(logging.WARNING, logger="service.gateway.error_handlers"):
                refused = [http.get("/health/ready"), http.post("/v1/chat/completions", json=chat)]
        finally:
            valkey.client.config_set("min-replicas-to-write", "0")
        for answer in refused:
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
            assert int(answer.headers["retry-after"]) >= 1
        reasons = [str(getattr(record, "reason", "")) for record in caplog.records]
        assert any("min-replicas-to-write" in reason for reason in reasons), reasons
        assert http.get("/health/ready").status_code == 200
        assert http.post("/v1/chat/completions", json=chat).status_code == 200
