"""POST /v1/media/inspect: how files will be read, without a model and without a request for text."""

import asyncio
import base64
from typing import Annotated, Any, Literal

import pydantic
from fastapi import APIRouter, Depends, Query, Request
from msgspec.structs import asdict
from starlette.responses import JSONResponse

from pandagpt_core.media import Notes
from pandagpt_core.media.pictures import preview
from pandagpt_core.modalities import FILE_MODALITIES, MODALITIES
from pandagpt_core.types import Modality
from service.gateway.access.auth import Access, Caller, Scope
from service.gateway.errors import GatewayError, invalid_request
from service.gateway.media.medium import MediaInput, composed, read_upload
from service.gateway.media.multipart import Form, Upload, read_form
from service.gateway.schema import parameters
from service.gateway.schema.documented import documented, file_field, form_body
from service.gateway.schema.requests import MediaForm, never_null
from service.gateway.schema.resources import Inspection
from service.gateway.state import GatewayState, gateway_of

router = APIRouter(tags=["media"])


def _body() -> dict[str, Any]:
    fields = {name: never_null(field) for name, field in MediaForm.model_json_schema()["properties"].items()}
    files = {name: file_field(f"{MODALITIES[name].about.capitalize()}. Default: none.") for name in FILE_MODALITIES}
    return form_body(fields | files, [])


@router.post("/v1/media/inspect", response_model=None, responses=documented(Inspection), openapi_extra=_body())
async def inspect_media(
    request: Request,
    caller: Annotated[Caller, Depends(Access(Scope.INFER))],
    only: Annotated[
        Literal["parameters"] | None,
        Query(description="Leave out all but the parameters. Default: nothing is left out."),
    ] = None,
) -> JSONResponse:
    """The reading of each file: type, orientation, rate, units, range, warnings, and a picture of the array.

    `parameters` are those that the file names itself. With `only=parameters` nothing is refused for want of one, and
    those that the file does not name come with the reason.
    """
    gateway = gateway_of(request)
    async with gateway.lease(request, caller.tenant):
        sent = await read_form(request.headers.get("content-type"), request.stream(), gateway.form_limits)
        fields = _fields(sent)
        if not sent.files:
            raise GatewayError("invalid_request", f"There is no file; files go into: {', '.join(FILE_MODALITIES)}.")
        look = _own_parameters if only else _inspected
        return JSONResponse(
            {"object": "list", "data": [await look(gateway, file, fields, caller) for file in sent.files]}
        )


def _fields(sent: Form) -> MediaForm:
    try:
        return MediaForm.model_validate_strings({name: values[0] for name, values in sent.fields.items()})
    except pydantic.ValidationError as error:
        raise invalid_request(error.errors(include_url=False, include_input=False)) from None


async def _inspected(gateway: GatewayState, file: Upload, fields: MediaForm, caller: Caller) -> dict[str, Any]:
    entry = MODALITIES[file.name]
    recipes = [one.name for one in entry.recipes]
    recipe = getattr(fields, "recipe", None) or entry.inspected_by
    if recipe not in recipes:
        raise GatewayError("invalid_request", f"recipe must be one of {', '.join(recipes)}.", param="recipe")
    given = parameters.given_in_form(entry, fields)
    content = await read_upload(file, file.name, gateway.sources_of(caller.tenant))
    sent = MediaInput(Modality(file.name), content.data, content.sha256, 0, file.name, given, f"{file.name}_")
    medium = composed([sent])[0]  # a further medium of the same file, a video's sound, is not this one's
    array, notes = await gateway.requests.resolver.inspect(medium, recipe, caller.share)
    picture = await asyncio.to_thread(preview.png, array)
    return _described(file.name, recipe, list(array.shape), notes) | {
        "preview": f"data:image/png;base64,{base64.b64encode(picture).decode()}" if picture else None,
    }


async def _own_parameters(gateway: GatewayState, file: Upload, _fields: MediaForm, caller: Caller) -> dict[str, Any]:
    recipe = MODALITIES[file.name].own
    if not recipe:
        return _described(file.name, "", [], Notes())
    content = await read_upload(file, file.name, gateway.sources_of(caller.tenant))
    medium = MediaInput(Modality(file.name), content.data, content.sha256, 0, file.name, {}, f"{file.name}_")
    _, notes = await gateway.requests.resolver.inspect(medium, recipe, caller.share)
    return _described(file.name, recipe, [], notes)


def _described(modality: str, recipe: str, array: list[int], notes: Notes) -> dict[str, Any]:
    return {
        "object": "media.inspection",
        "modality": modality,
        "recipe": recipe,
        "array": array,
        "facts": notes.facts,
        "spans": notes.spans,
        "warnings": notes.warnings,
        "parameters": {name: asdict(one) for name, one in notes.parameters.items()},
        "preview": None,
    }
