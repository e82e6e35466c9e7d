"""Requests about places in a picture: the fields task, boxes and annotate, for models that take boxes.

A model that has an option of the kind `boxes` also names places in its answers. The boxes of such an answer are given
in pixels of the picture as a viewer shows it: of the last picture of the conversation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pandagpt_core.boxes import to_norm
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.options import MAX_BOXES, checked_options
from pandagpt_core.types import Box, Modality, ModelInfo, OptionValue
from service.gateway.errors import GatewayError
from service.gateway.inference.validated import GenerateRequest
from service.gateway.media.medium import MediaInput
from service.gateway.media.pictures import Pictures


@dataclass(frozen=True, slots=True)
class Grounding:
    """options: checked, boxes of 0 to 1. named: the model names places. sides: in pixels, of the picture that they are
    in. kept: that picture's bytes, where it is to be drawn on."""

    options: Mapping[str, OptionValue] = field(default_factory=dict)
    named: bool = False
    sides: tuple[int, int] | None = None
    kept: bytes | None = None


def names_places(info: ModelInfo) -> bool:
    return any(option.kind == "boxes" for option in info.options)


def checked(info: ModelInfo, wanted: GenerateRequest) -> GenerateRequest:
    """The request with checked options; boxes are still as the caller gave them. Checks all that needs no picture's
    sides. Raises InvalidRequest."""
    given, picture, named = wanted.places, last_picture(wanted), names_places(info)
    if picture is not None and picture.recalled and named:
        words = f"{picture.where}: {info.id} names places in a picture, and needs its bytes for that."
        raise GatewayError("invalid_request", words, param=picture.where)
    if given.boxes is not None and len(given.boxes) > MAX_BOXES:
        raise InvalidRequest(f"boxes has {len(given.boxes)} boxes; the limit is {MAX_BOXES}", param="boxes")
    _check_corners(given.boxes or ())
    if given.boxes and given.in_pixels and picture is None:
        raise InvalidRequest("boxes in pixels need a picture; the conversation has none", param="boxes")
    if given.annotate and not named:
        raise InvalidRequest(f"{info.id} names no places, so there is nothing to annotate", param="annotate")
    if given.annotate and picture is None:
        raise InvalidRequest("annotate needs a picture; the conversation has none", param="annotate")
    options = _options(info, wanted, None if given.boxes is None else ())
    return replace(wanted, names_places=True) if named else replace(wanted, options=options)


async def resolve(info: ModelInfo, wanted: GenerateRequest, pictures: Pictures) -> Grounding:
    """The options of a request that is `checked`, to a model that names places, with boxes of 0 to 1. Raises
    InvalidRequest for a box outside of the picture."""
    given, picture = wanted.places, last_picture(wanted)
    sides = None if picture is None else await _measured(pictures, picture)
    boxes = given.boxes
    if boxes is not None and given.in_pixels and sides is not None:
        boxes = _fractions(boxes, sides)
    kept = None
    if given.annotate and picture is not None:
        pictures.check_size(picture.data)
        kept = picture.data
    return Grounding(_options(info, wanted, boxes), True, sides, kept)


def last_picture(wanted: GenerateRequest) -> MediaInput | None:
    """The picture that an answer's places are in. A vector that stands for a picture has no places."""
    pictures = [medium for medium in wanted.media if medium.modality is Modality.IMAGE and not medium.is_vector]
    latest = max((picture.turn for picture in pictures), default=0)
    return next((picture for picture in reversed(pictures) if picture.turn == latest), None)


async def _measured(pictures: Pictures, picture: MediaInput) -> tuple[int, int]:
    try:
        return await pictures.measure(picture.data)
    except GatewayError as error:
        raise GatewayError(error.code, f"{picture.where}: {error.message}", param=picture.where) from None


def _options(info: ModelInfo, wanted: GenerateRequest, boxes: Sequence[Box] | None) -> dict[str, OptionValue]:
    """Options of `options` and of fields of their own, which may not be given twice. Errors name the caller's field."""
    fields = {"task": wanted.places.task, "boxes": boxes}
    own: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    twice = [name for name in own if wanted.options.get(name) is not None]
    if twice:
        raise InvalidRequest(f"{twice[0]} is given twice: as a field and in options", param=twice[0])
    try:
        return checked_options(info.options, {**wanted.options, **own})
    except InvalidRequest as error:
        raise InvalidRequest(error.message, param=_field_of(error.param, info, own)) from None


def _field_of(param: str | None, info: ModelInfo, own: Mapping[str, Any]) -> str | None:
    unknown = [name for name in own if name not in {option.name for option in info.options}]
    if param == "options" and unknown:
        return unknown[0]
    name = (param or "").removeprefix("options.")
    return name if name in own else param


def _check_corners(boxes: Sequence[Box]) -> None:
    for index, (left, top, right, bottom) in enumerate(boxes):
        if left > right or top > bottom:
            raise InvalidRequest(f"boxes[{index}] must be left, top, right, bottom in this order", param="boxes")


def _fractions(boxes: Sequence[Box], sides: tuple[int, int]) -> tuple[Box, ...]:
    width, height = sides
    for index, (left, top, right, bottom) in enumerate(boxes):
        if left < 0 or top < 0 or right > width or bottom > height:
            reach = f"{left:g}, {top:g}, {right:g}, {bottom:g}"
            raise InvalidRequest(
                f"boxes[{index}] is {reach} pixels, outside of the picture of {width} x {height}", param="boxes"
            )
    return tuple(to_norm(box, width, height) for box in boxes)
