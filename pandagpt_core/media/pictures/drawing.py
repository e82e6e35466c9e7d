"""The boxes of a drawing as a recipe's parameter: JSON of [[label or null, [left, top, right, bottom]], ...]."""

from collections.abc import Sequence

import msgspec

from pandagpt_core.boxes import MOST_BOXES, Located, ordered
from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media.limits import check
from pandagpt_core.types import Box

_Objects = tuple[tuple[str | None, Box], ...]


def write_objects(objects: Sequence[Located]) -> str:
    """The parameter `objects`."""
    return msgspec.json.encode([(one.label, one.box) for one in objects]).decode()


def read_objects(value: float | str | None) -> tuple[Located, ...]:
    """Raises InvalidMedia for bytes that are no list of labels with four numbers of 0 to 1."""
    try:
        objects = msgspec.json.decode(value if isinstance(value, str) else "", type=_Objects)
    except msgspec.DecodeError as error:
        raise InvalidMedia("objects must be a list of labels with four numbers", param="objects") from error
    check(len(objects), MOST_BOXES, "the drawing", "boxes")
    if not all(0.0 <= side <= 1.0 for _, box in objects for side in box):
        raise InvalidMedia("the sides of a box must be between 0 and 1", param="objects")
    return tuple(Located(label, ordered(box)) for label, box in objects)
