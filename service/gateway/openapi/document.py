"""The written interface: OpenAPI from the application.

`python -m service.gateway.openapi.document [file]` writes it as YAML.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema

from service.gateway.access.auth import Access
from service.gateway.openapi.add_examples import add_examples
from service.gateway.openapi.errors import add_errors
from service.gateway.routes import routers
from service.gateway.schema.batches import BatchBody
from service.gateway.schema.completions import CompletionBody, DetokenizeBody, TokenizeBody
from service.gateway.schema.documented import Error
from service.gateway.schema.embeddings import EmbedBody, RerankBody, ScoreBody
from service.gateway.schema.requests import ChatBody, GenerateForm, never_null
from service.gateway.schema.responses.bodies import ResponseBody
from service.settings import GatewaySettings
from service.version import version

TAGS = {
    "inference": "Answers and embeddings",
    "responses": "Answers that are kept and gone on with",
    "batches": "Files of requests, run when nothing more urgent waits",
    "media": "How files are read",
    "files": "Media kept for later requests",
    "models": "Models of live workers",
    "requests": "State of a request, its stream again, its end",
    "operations": "For operators",
}
# Bodies that routes parse by themselves, and the body of every error.
BODIES = (
    ChatBody,
    CompletionBody,
    ResponseBody,
    BatchBody,
    TokenizeBody,
    DetokenizeBody,
    EmbedBody,
    RerankBody,
    ScoreBody,
    GenerateForm,
    Error,
)
DESCRIPTION = "Ask a language model about images, videos, sounds, depth maps, thermal images and IMU recordings."
FORM_PATH = "/v1/generate"


class Limit(NamedTuple):
    """A field of bodies that a setting bounds: `keyword` of its schema is at most the setting's value."""

    field: str
    keyword: Literal["maximum", "maxItems", "maxLength"]
    setting: str


LIMITS = (
    Limit("messages", "maxItems", "max_messages"),
    Limit("max_tokens", "maximum", "max_tokens"),
    Limit("max_completion_tokens", "maximum", "max_tokens"),
    Limit("n", "maximum", "max_choices"),
    Limit("input", "maxItems", "max_embed_inputs"),
    Limit("documents", "maxItems", "max_embed_inputs"),
    Limit("text_1", "maxItems", "max_embed_inputs"),
    Limit("text_2", "maxItems", "max_embed_inputs"),
    Limit("prompt", "maxLength", "max_text_chars"),
)
# A response's `input` is a conversation, not a list to embed.
RESPONSE_LIMITS = (
    *(limit for limit in LIMITS if limit.setting in ("max_tokens", "max_choices")),
    Limit("max_output_tokens", "maximum", "max_tokens"),
)
BOUNDED = ("ChatBody", "CompletionBody", "EmbedBody", "RerankBody", "ScoreBody", "TokenizeBody")


def install(app: FastAPI, routes: Iterable[APIRoute], settings: GatewaySettings) -> None:
    """Make `app.openapi` answer with the document for `routes`, built at first use."""
    kept = list(routes)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = document(kept, settings)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def document(routes: list[APIRoute], settings: GatewaySettings) -> dict[str, Any]:
    """The OpenAPI document: FastAPI's own, the bodies that routes parse themselves, keys, errors, examples, and the
    operator's limits."""
    spec = get_openapi(
        title="PandaGPT",
        version=version(),
        description=DESCRIPTION,
        routes=routes,
        servers=[{"url": "/", "description": "The gateway that gives this document"}],
        tags=[{"name": name, "description": words} for name, words in TAGS.items()],
        contact={"name": "Whoever runs this gateway"},
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    models = [(model, "validation") for model in BODIES]
    _, bodies = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]  # literals
    spec["components"]["schemas"] |= bodies["$defs"]
    spec["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for operation, route in _operations(spec, routes):
        operation["operationId"] = operation_id(route)
        if access_of(route) is not None:
            operation["security"] = [{"key": []}, {}]
        for parameter in operation.get("parameters", ()):
            if "anyOf" in parameter["schema"]:
                parameter["schema"] = never_null(parameter["schema"])
    add_errors(spec)
    add_examples(spec)
    _leave_out_unused(spec)
    _state_limits(spec, settings)
    _describe_constants(spec)
    _leave_out_null_defaults(spec)
    return spec


def _operations(spec: dict[str, Any], routes: list[APIRoute]) -> Iterator[tuple[dict[str, Any], APIRoute]]:
    for route in routes:
        if route.include_in_schema:
            for method in route.methods or ():
                yield spec["paths"][route.path_format][method.lower()], route


def operation_id(route: APIRoute) -> str:
    """The name of a generated client's method: `createChatCompletion`."""
    if route.operation_id is not None:
        return route.operation_id
    first, *rest = route.name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _leave_out_unused(spec: dict[str, Any]) -> None:
    """Schemas that nothing refers to: of bodies that are written out in their place, of answers never given."""
    schemas = spec["components"]["schemas"]
    while unused := _unused(schemas, json.dumps(spec)):
        for name in unused:
            del schemas[name]


def _unused(schemas: dict[str, Any], written: str) -> list[str]:
    return [name for name in schemas if f'"#/components/schemas/{name}"' not in written]


def _describe_constants(spec: dict[str, Any]) -> None:
    """A property that can hold one value only is described by it."""
    for schema in spec["components"]["schemas"].values():
        for field in schema.get("properties", {}).values():
            if "const" in field:
                field.setdefault("description", f"Always `{field['const']}`")


def _leave_out_null_defaults(spec: dict[str, Any]) -> None:
    """Generators take a field with a default as one that is always there; the description states what holds."""
    for schema in spec["components"]["schemas"].values():
        for field in schema.get("properties", {}).values():
            if field.get("default", "") is None:
                del field["default"]


def _state_limits(spec: dict[str, Any], settings: GatewaySettings) -> None:
    """Lower the bounds of the document's bodies to those of the settings, in place."""
    found = spec["components"]["schemas"]
    form = spec["paths"][FORM_PATH]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    for schema in (*(found[name] for name in BOUNDED if name in found), form):
        _state(schema, LIMITS, settings)
    if "ResponseBody" in found:
        _state(found["ResponseBody"], RESPONSE_LIMITS, settings)


def _state(schema: dict[str, Any], limits: tuple[Limit, ...], settings: GatewaySettings) -> None:
    for limit in limits:
        if (field := schema["properties"].get(limit.field)) is not None:
            _bound(field, limit.keyword, getattr(settings, limit.setting))


def _bound(field: dict[str, Any], keyword: str, value: int) -> None:
    for kind in (field, *field.get("anyOf", ())):
        if keyword in kind:
            kind[keyword] = min(kind[keyword], value)


def access_of(route: APIRoute) -> Access | None:
    """The access that a route declares; None where anyone may call or nothing is declared."""
    calls = [dependency.call for dependency in route.dependant.dependencies]
    return next((call for call in calls if isinstance(call, Access)), None)


class _Plain(yaml.SafeDumper):
    """Without anchors: a value in several places is written out in each."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def of_application() -> dict[str, Any]:
    """The document of all routes, with the limits that settings have unless they are set."""
    routes = [route for router in routers() for route in router.routes if isinstance(route, APIRoute)]
    return document(routes, GatewaySettings())


def text() -> str:
    return yaml.dump(of_application(), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else "openapi.yaml").write_text(text(), encoding="utf-8")
