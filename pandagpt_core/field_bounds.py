"""Bounds of fields that a file fills, as msgspec checks them."""

from typing import Annotated

from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
CountOrZero = Annotated[int, Meta(ge=0)]
NonEmptyText = Annotated[str, Meta(min_length=1)]
