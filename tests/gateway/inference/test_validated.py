"""The order of sampling values: the caller's, the model's, then the operator's, whose limits have limits too."""

import asyncio
from collections.abc import Callable
from dataclasses import fields, replace

import httpx
import pytest
from pydantic import BaseModel, ValidationError

from pandagpt_core.types import SamplingParams
from service.gateway.inference.parsing.conversation import from_chat
from service.gateway.inference.validated import RequestLimits, sampling_of
from service.gateway.media.sources import MediaSources
from service.gateway.schema.requests import MAX_MESSAGES, ChatBody, Messages
from service.gateway.schema.sampling import Sampling
from service.gateway.state import GatewayState
from service.settings import GatewaySettings
from tests.fakes import FAKE_INFO

SAID = {
    "max_tokens": 33,
    "temperature": 0.0,
    "top_p": 0.9,
    "top_k": 7,
    "min_p": 0.1,
    "repetition_penalty": 1.2,
    "frequency_penalty": 0.3,
    "presence_penalty": 0.4,
}


@pytest.mark.parametrize("name", list(SAID))
def test_what_the_caller_leaves_out_is_the_models_own_default(name: str) -> None:
    assert SAID[name] != getattr(SamplingParams(), name), "no default of ours may pass for the model's"
    model = replace(FAKE_INFO, sampling_defaults={name: SAID[name]})
    assert getattr(sampling_of(Sampling(), RequestLimits()).over(model, 256), name) == SAID[name]


def test_what_the_caller_says_goes_before_the_models_default() -> None:
    model = replace(FAKE_INFO, sampling_defaults=SAID)
    params = sampling_of(Sampling(temperature=0.5, top_k=0, max_tokens=2), RequestLimits()).over(model, 256)
    assert (params.temperature, params.top_k, params.max_tokens, params.top_p) == (0.5, 0, 2, 0.9)


@pytest.mark.parametrize(("context", "tokens"), [(2048, 40), (60, 30), (1, 1)])
def test_by_default_an_answer_has_the_operators_tokens_or_half_a_context(context: int, tokens: int) -> None:
    params = sampling_of(Sampling(), RequestLimits()).over(replace(FAKE_INFO, max_model_len=context), 40)
    assert params == replace(SamplingParams(), max_tokens=tokens, seed=params.seed)


def test_a_request_without_a_seed_has_one_that_no_other_has() -> None:
    assert len({sampling_of(Sampling(), RequestLimits()).over(FAKE_INFO, 256).seed for _ in range(20)}) == 20


@pytest.mark.parametrize(
    ("setting", "most"), [("max_choices", 64), ("max_tokens", 1_000_000), ("max_messages", MAX_MESSAGES)]
)
def test_an_operators_limit_beyond_the_bodys_is_refused_and_not_ignored(setting: str, most: int) -> None:
    assert getattr(GatewaySettings(**{setting: most}), setting) == most
    with pytest.raises(ValidationError, match=setting):
        GatewaySettings(**{setting: most + 1})
    assert said(setting, most)
    with pytest.raises(ValidationError):
        said(setting, most + 1)


def said(setting: str, amount: int) -> object:
    """A body that uses up that much of the setting. Raises ValidationError."""
    if setting == "max_messages":
        return Messages.model_validate([{"role": "user", "content": "x"}] * amount)
    return Sampling(**{{"max_choices": "n"}.get(setting, setting): amount})


@pytest.mark.parametrize("beyond", [{"n": 9}, {"max_tokens": 9000}])
def test_limits_are_checked_before_a_model_is_looked_up(
    start_gateway: Callable[..., tuple[str, GatewayState]], beyond: dict[str, int]
) -> None:
    url, _ = start_gateway()
    body = {"messages": [{"role": "user", "content": "What is this?"}]}
    assert httpx.post(f"{url}/v1/chat/completions", json=body).status_code == 503, "no worker serves a model"
    refused = httpx.post(f"{url}/v1/chat/completions", json=body | beyond)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, next(iter(beyond)))


def test_a_valid_request_holds_no_schema_of_the_wire() -> None:
    body = ChatBody.model_validate({"messages": [{"role": "user", "content": "What is this?"}], "n": 2})
    request = asyncio.run(from_chat(body, MediaSources(1000), RequestLimits()))
    values = [getattr(request, one.name) for one in fields(request)]
    assert request.n == 2
    assert not any(isinstance(value, BaseModel) for value in (*values, *request.turns, *request.media))
