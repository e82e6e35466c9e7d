"""The operator's limits in the written interface: what a deployment's settings bound, its document states."""

from typing import Any, Literal, NamedTuple

from service.settings import GatewaySettings

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
BODIES = ("ChatBody", "CompletionBody", "EmbedBody", "RerankBody", "ScoreBody", "TokenizeBody")


def state_limits(spec: dict[str, Any], settings: GatewaySettings) -> None:
    """Lower the bounds of the document's bodies to those of the settings, in place."""
    found = spec["components"]["schemas"]
    form = spec["paths"][FORM_PATH]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    for schema in (*(found[name] for name in BODIES if name in found), form):
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
