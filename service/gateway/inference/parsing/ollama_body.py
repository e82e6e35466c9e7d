"""Ollama's bodies as valid requests, by way of the bodies that chat and completions have."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from service.gateway.errors import GatewayError, invalid_request
from service.gateway.inference.parsing.completion_body import from_completion
from service.gateway.inference.parsing.conversation import from_chat
from service.gateway.inference.validated import GenerateRequest, RequestLimits
from service.gateway.media.sources import MediaSources
from service.gateway.schema.completions import CompletionBody
from service.gateway.schema.ollama.bodies import Called, OllamaChat, OllamaGenerate, OllamaMessage
from service.gateway.schema.requests import ChatBody
from service.gateway.streaming.ollama_lines import CHAT, GENERATE

# Ollama's name of an option, and the parameter here.
OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "temperature": "temperature",
        "top_k": "top_k",
        "top_p": "top_p",
        "min_p": "min_p",
        "seed": "seed",
        "stop": "stop",
        "num_predict": "max_tokens",
        "repeat_penalty": "repetition_penalty",
        "presence_penalty": "presence_penalty",
        "frequency_penalty": "frequency_penalty",
    }
)
_THEIRS = {ours: name for name, ours in OPTIONS.items()}
# Options that would change the answer and are not offered, with the values that change nothing.
REFUSED: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {"mirostat": (0,), "typical_p": (1, 1.0), "tfs_z": (1, 1.0), "suffix": ("",), "template": ("",), "context": ([],)}
)
WITHOUT_END = (-1, -2)  # num_predict
_Body = TypeVar("_Body", bound=BaseModel)


async def chat_request(body: OllamaChat, sources: MediaSources, limits: RequestLimits) -> GenerateRequest:
    """Raises `invalid_request`, `too_large`."""
    fields = {**_shared(body), "messages": [_message(one) for one in body.messages]}
    if body.tools:
        fields["tools"] = body.tools
    with _named_as_sent():
        wanted = await from_chat(_as(ChatBody, fields), sources, limits)
    return replace(wanted, kind=CHAT, ignored=_unread(body))


async def ollama_request(body: OllamaGenerate, sources: MediaSources, limits: RequestLimits) -> GenerateRequest:
    """Raises `invalid_request`, `too_large`."""
    _check({name: getattr(body, name) for name in ("suffix", "template", "context")})
    if body.raw:
        if body.images or body.system:
            raise GatewayError("invalid_request", "raw takes a prompt alone.", param="raw")
        with _named_as_sent():
            wanted = await from_completion(_as(CompletionBody, {**_shared(body), "prompt": body.prompt}), limits)
    else:
        opening = [{"role": "system", "content": body.system}] if body.system else []
        asked = _message(OllamaMessage(role="user", content=body.prompt, images=body.images))
        with _named_as_sent():
            wanted = await from_chat(_as(ChatBody, {**_shared(body), "messages": [*opening, asked]}), sources, limits)
    return replace(wanted, kind=GENERATE, ignored=_unread(body))


def _shared(body: OllamaChat | OllamaGenerate) -> dict[str, Any]:
    """The fields that both bodies have, by their names here."""
    options = dict(body.options or {})
    _check(options)
    if body.think:
        raise GatewayError("invalid_request", f"{body.model} does not support thinking.", param="think")
    if options.get("num_predict") in WITHOUT_END:
        del options["num_predict"]
    given = {ours: options[name] for name, ours in OPTIONS.items() if options.get(name) is not None}
    return {**given, "model": body.model, "stream": body.stream, **_format(body.format)}


def _format(wanted: str | dict[str, Any] | None) -> dict[str, Any]:
    if not wanted:
        return {}
    if wanted == "json":
        return {"response_format": {"type": "json_object"}}
    return {"response_format": {"type": "json_schema", "json_schema": {"schema": wanted}}}


def _message(message: OllamaMessage) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "text", "text": message.content}] if message.content else []
    parts += [{"type": "image_url", "image_url": {"url": f"data:;base64,{one}"}} for one in message.images or ()]
    calls = {"tool_calls": [_call(one) for one in message.tool_calls]} if message.tool_calls else {}
    return {"role": message.role, "content": parts, **calls}


def _call(call: Called) -> dict[str, Any]:
    return {"type": "function", "function": {"name": call.function.name, "arguments": call.function.arguments}}


def _check(given: Mapping[str, Any]) -> None:
    for name, neutral in REFUSED.items():
        if given.get(name) is not None and given[name] not in neutral:
            raise GatewayError("invalid_request", f"{name} is not supported here.", param=name)


def _unread(body: OllamaChat | OllamaGenerate) -> tuple[str, ...]:
    """Fields and options that nothing reads."""
    options = [f"options.{name}" for name in body.options or () if name not in OPTIONS and name not in REFUSED]
    return (*(body.model_extra or ()), *options)


def _as(model: type[_Body], fields: dict[str, Any]) -> _Body:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise invalid_request(error.errors(include_url=False, include_input=False)) from None


@contextmanager
def _named_as_sent() -> Iterator[None]:
    """A refusal of an option names it as the caller wrote it."""
    try:
        yield
    except GatewayError as error:
        ours = (error.param or "").partition("[")[0]
        if ours not in _THEIRS:
            raise
        message = error.message.replace(ours, f"options.{_THEIRS[ours]}", 1)
        raise GatewayError(error.code, message, param=f"options.{_THEIRS[ours]}") from None
