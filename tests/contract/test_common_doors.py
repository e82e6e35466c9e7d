"""First requests of other servers' clients: health by other names, a slash too many, endpoints that are not here."""

import httpx
import openai
import pytest
from openai import OpenAI

from service.gateway.error_handlers import NOT_OFFERED
from tests.contract import made


@pytest.mark.parametrize("path", ["/health", "/ping"])
def test_health_and_ping_answer_as_ready(http: httpx.Client, path: str) -> None:
    assert http.get(path).json() == http.get("/health/ready").json() == {"status": "ok", "models": ["fake"]}


def test_models_are_listed_with_and_without_a_slash(http: httpx.Client) -> None:
    plain, slashed = http.get("/v1/models"), http.get("/v1/models/")
    assert slashed.status_code == 200
    assert slashed.json() == plain.json()


@pytest.mark.parametrize("prefix", list(NOT_OFFERED))
def test_an_endpoint_of_other_servers_is_a_404_that_says_what_is_not_offered(http: httpx.Client, prefix: str) -> None:
    for answer in (http.post(prefix, json={}), http.get(f"{prefix}/some-id")):
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (404, "not_found")
        assert error["message"].startswith(f"{prefix} is not offered.")
    assert "not offered" not in http.get(f"{prefix}-of-mine").json()["error"]["message"]


def test_the_package_shows_what_is_not_offered(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="/v1/moderations is not offered"):
        client.moderations.create(input="x")
    with pytest.raises(openai.NotFoundError, match="pandagpt train"):
        client.fine_tuning.jobs.list()


@pytest.mark.parametrize("purpose", ["fine-tune", "assistants", "evals"])
def test_a_purpose_without_its_endpoint_is_refused(client: OpenAI, purpose: str) -> None:
    with pytest.raises(openai.BadRequestError, match="not offered") as refusal:
        client.files.create(file=("a", made.PNG), purpose=purpose)
    assert refusal.value.param == "purpose"
