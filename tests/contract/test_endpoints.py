"""Endpoints for operators, the written interface as it is served, requests that are sent again or deleted."""

import httpx
import yaml
from openapi_spec_validator import validate

from tests.conftest import ROOT

CHAT = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}


def test_health_live_and_ready_answer_with_the_models(http: httpx.Client) -> None:
    assert http.get("/health/live").json() == {"status": "ok"}
    assert http.get("/health/ready").json() == {"status": "ok", "models": ["fake"]}


def test_version_is_the_installed_one(http: httpx.Client) -> None:
    from importlib.metadata import version

    assert http.get("/version").json() == {"version": version("pandagpt")}


def test_metrics_are_prometheus_text_with_every_endpoint_by_template(http: httpx.Client) -> None:
    http.post("/v1/chat/completions", json=CHAT)
    answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'pandagpt_http_requests_total{endpoint="/v1/chat/completions",status="200"}' in answer.text


def test_docs_and_openapi_json_show_the_written_interface(http: httpx.Client) -> None:
    written = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))
    assert http.get("/openapi.json").json() == written
    page = http.get("/docs").text
    assert all(path in page for path in written["paths"])


def test_openapi_yaml_is_valid_openapi() -> None:
    validate(yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8")))


def test_a_deleted_request_is_cancelled_and_one_that_ended_stays_as_it_is(http: httpx.Client) -> None:
    ended = http.post("/v1/chat/completions", json=CHAT).json()["id"]
    assert http.delete(f"/v1/requests/{ended}").json()["status"] == "done"


def test_an_idempotency_key_sent_again_is_answered_by_the_same_request(http: httpx.Client) -> None:
    headers = {"idempotency-key": "contract-1"}
    first, again = (http.post("/v1/chat/completions", json=CHAT, headers=headers) for _ in range(2))
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    other = http.post("/v1/chat/completions", json={**CHAT, "max_tokens": 2}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")
