"""Places that an answer names, as fields beside its text: boxes in pixels, and texts that only look like one."""

from collections.abc import Iterable
from typing import Any, Protocol

from pandagpt_core.boxes import Boxes, Located, read_boxes, to_pixels


class Answered(Protocol):
    """The part of a response's metadata that is read here."""

    @property
    def id(self) -> str: ...
    @property
    def annotated(self) -> bool: ...
    @property
    def places(self) -> bool: ...
    @property
    def sides(self) -> tuple[int, int] | None: ...


def objects_json(objects: Iterable[Located], sides: tuple[int, int] | None) -> list[dict[str, Any]]:
    """`box` is null where the conversation has no picture."""
    return [
        {"label": one.label, "box": None if sides is None else _corners(one, sides), "box_norm": list(one.box)}
        for one in objects
    ]


def places_end(found: Boxes, answer: Answered) -> dict[str, Any]:
    """Fields that are known only at the end of an answer; a whole answer has them unless they are empty."""
    end: dict[str, Any] = {"malformed_boxes": list(found.malformed)} if found.malformed else {}
    return end | ({"annotated": f"/v1/requests/{answer.id}/annotated"} if answer.annotated else {})


def places_of(text: str, answer: Answered) -> dict[str, Any]:
    """The fields of a whole answer; none of a model that names no places."""
    if not answer.places:
        return {}
    found = read_boxes(text)
    return {"objects": objects_json(found.objects, answer.sides), **places_end(found, answer)}


def other_fields(fields: dict[str, Any] | None) -> dict[str, Any] | None:
    """The fields that a model read out of its answer, without the places, which stand in pixels elsewhere."""
    rest = {name: value for name, value in (fields or {}).items() if name not in ("objects", "malformed_boxes")}
    return rest or None


def _corners(one: Located, sides: tuple[int, int]) -> dict[str, float]:
    return dict(zip(("x0", "y0", "x1", "y1"), (round(side, 2) for side in to_pixels(one.box, *sides)), strict=True))
