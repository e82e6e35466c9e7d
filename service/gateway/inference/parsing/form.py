"""A multipart form as a valid request: the same type that a chat body becomes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pydantic

from pandagpt_core.modalities import FILE_MODALITIES, MODALITIES
from pandagpt_core.types import Modality, Turn
from service.gateway.errors import GatewayError, invalid_request
from service.gateway.inference.parsing.conversation import check_totals, conversation
from service.gateway.inference.parsing.json_body import JsonBounds, pieces
from service.gateway.inference.parsing.structured import grammar_of
from service.gateway.inference.validated import GenerateRequest, RequestLimits, generate_request
from service.gateway.media.medium import MediaInput, read_upload, text_medium
from service.gateway.media.multipart import Form, takes_no_file
from service.gateway.media.sources import MediaSources
from service.gateway.schema import parameters, requests
from service.gateway.schema.content_parts import Message
from service.gateway.schema.requests import BoxList, GenerateForm, ModelOptions, Weights
from service.gateway.schema.sampling import Sampling, StreamOptions
from service.gateway.schema.unsupported import unread

FILE_FIELDS = FILE_MODALITIES
# Fields of parameters that are JSON in a form.
JSON_FIELDS = (
    "response_format",
    "structured_outputs",
    "guided_json",
    "guided_choice",
    "stop_token_ids",
    "logit_bias",
    "bad_words",
)
_IN_JSON = ("messages", "weights", "stream_options", "options", "boxes", *JSON_FIELDS)
_APART = ("text", "stop", *_IN_JSON)
_Model = TypeVar("_Model", bound=pydantic.BaseModel)


@dataclass(frozen=True, slots=True)
class FormFields:
    """The text fields of a form; `earlier` are its messages."""

    fields: GenerateForm
    weights: Weights
    stream_options: StreamOptions
    earlier: Sequence[Message]


def parse_fields(form: Form) -> FormFields:
    """The text fields, each once but `stop`, numbers and booleans read from text. Raises `invalid_request`."""
    options, boxes = _json_field(form, "options", ModelOptions), _json_field(form, "boxes", BoxList)
    weights = _json_field(form, "weights", Weights) or Weights()
    stream_options = _json_field(form, "stream_options", StreamOptions) or StreamOptions()
    earlier = _json_field(form, "messages", requests.Messages) or requests.Messages([])
    _check_weights(weights, form)
    fields = _plain_fields(form)
    update = {name: one.root for name, one in (("options", options), ("boxes", boxes)) if one is not None}
    if include_usage := fields.include_usage or stream_options.include_usage:
        stream_options = stream_options.model_copy(update={"include_usage": include_usage})
    return FormFields(fields.model_copy(update=update), weights, stream_options, earlier.root)


def _plain_fields(form: Form) -> GenerateForm:
    values: dict[str, Any] = {}
    for name in form.fields:
        if name not in _APART and (value := _once(form, name)) is not None:
            values[name] = value
    try:
        apart = Sampling.model_validate({"stop": form.fields.get("stop"), **_json_values(form)})
        fields = GenerateForm.model_validate_strings(values).model_copy(
            update={name: getattr(apart, name) for name in ("stop", *JSON_FIELDS)}
        )
    except pydantic.ValidationError as error:
        raise invalid_request(error.errors(include_url=False, include_input=False)) from None
    if elsewhere := next((name for name in fields.model_extra or () if name in requests.CHAT_ONLY), None):
        raise GatewayError("invalid_request", f"{elsewhere} is a field of /v1/chat/completions.", param=elsewhere)
    # An unknown field changes nothing and is named in a header; a medium that is not read would change the answer.
    if misnamed := next((name for name in fields.model_extra or () if name in form.from_files), None):
        raise takes_no_file(misnamed, FILE_FIELDS)
    return fields


async def from_form(form: Form, sources: MediaSources, limits: RequestLimits) -> GenerateRequest:
    """The form as a valid request. Raises `invalid_request`, `too_large`."""
    form = await _in_bounds(form)
    given = parse_fields(form)
    fields = given.fields
    ignored = unread(fields, lenient=limits.lenient)
    turns, media = await conversation(given.earlier, sources, limits)
    texts = form.fields.get("text", [])
    chars = len(fields.prompt) + sum(len(turn.text) for turn in turns)
    check_totals(chars, len(media) + len(form.files) + len(texts), limits, "prompt")
    own = await _own_media(form, given, len(turns), sources)
    event_ids = given.stream_options.include_event_ids is not False  # unlike chat, whose clients miscount
    request = generate_request(
        fields,
        (*turns, Turn("user", fields.prompt)),
        (*media, *own),
        limits,
        model=fields.model,
        stream_options=given.stream_options.model_copy(update={"include_event_ids": event_ids}),
        grammar=await grammar_of(fields),
    )
    return replace(request, ignored=ignored)


async def _in_bounds(form: Form) -> Form:
    """The form, once all its JSON together is within the bounds of one body. Raises `invalid_request`."""
    present = [name for name in _IN_JSON if form.fields.get(name)]
    if not present:
        return form
    bounds, fields = JsonBounds("invalid_request"), dict(form.fields)
    for name in present:
        what = f"The JSON of the form, up to {name},"
        given = [await bounds.read(pieces(value.encode()), what, name) for value in form.fields[name]]
        fields[name] = [value.decode() for value in given]
    return replace(form, fields=fields)


def _json_values(form: Form) -> dict[str, Any]:
    """The parameters that are JSON in a form. Raises `invalid_request`."""
    found = {}
    for name in JSON_FIELDS:
        if (value := _once(form, name)) is None:
            continue
        try:
            found[name] = json.loads(value)
        except (ValueError, RecursionError):
            if name != "guided_json":
                raise GatewayError("invalid_request", f"{name} must be JSON.", param=name) from None
            found[name] = value
    return found


def _json_field(form: Form, name: str, model: type[_Model]) -> _Model | None:
    if (value := _once(form, name)) is None:
        return None
    try:
        return model.model_validate_json(value)
    except pydantic.ValidationError as error:
        raise invalid_request(error.errors(include_url=False, include_input=False), at=name) from None


def _once(form: Form, name: str) -> str | None:
    """The field's value, None where it is absent. Raises `invalid_request` for one that is given more than once."""
    values = form.fields.get(name, ())
    if len(values) > 1:
        raise GatewayError("invalid_request", f"{name} is given {len(values)} times.", param=name)
    return values[0] if values else None


async def _own_media(form: Form, given: FormFields, turn: int, sources: MediaSources) -> list[MediaInput]:
    """The media of the prompt's turn."""
    counts: dict[str, int] = {}
    media = []
    for file in form.files:
        index = counts.get(file.name, 0)
        counts[file.name] = index + 1
        where = file.name if index == 0 else f"{file.name}[{index}]"
        weight = _weight(given.weights, file.name, index)
        content = await read_upload(file, where, sources)
        media.append(
            MediaInput(
                Modality(file.name),
                content.data,
                content.sha256,
                turn,
                where,
                parameters.given_in_form(MODALITIES[file.name], given.fields),
                f"{file.name}_",
                weight,
            )
        )
    for index, text in enumerate(form.fields.get("text", [])):
        media.append(await text_medium(text, "text", turn, _weight(given.weights, "text", index)))
    return media


def _weight(weights: Weights, name: str, index: int) -> float:
    numbers: tuple[float, ...] = getattr(weights, name)
    return numbers[index] if index < len(numbers) else 1.0


def _check_weights(weights: Weights, form: Form) -> None:
    """A weight without its medium is a mistake, and would otherwise go unnoticed."""
    for name in Weights.model_fields:
        count = sum(file.name == name for file in form.files) + (
            len(form.fields.get(name, ())) if name == "text" else 0
        )
        if (numbers := len(getattr(weights, name))) > count:
            raise GatewayError(
                "invalid_request", f"weights.{name} has {numbers} numbers for {count} media.", param=f"weights.{name}"
            )
