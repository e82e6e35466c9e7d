"""Sizes of a grid encoder, and the words that its rows are made of, as config.json has them."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pandagpt_core.encoders.grid.lines import Words
from pandagpt_core.errors import CheckpointError

THINGS = 6  # at most, whose lines a picture has
GROUPS = 8  # of the head's normalisation


class GridSizes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """words: the names and colours of the head, as rows spell them. width, depth: of its convolutions."""

    words: Words
    width: Annotated[int, Meta(ge=GROUPS, multiple_of=GROUPS)] = 160
    depth: Annotated[int, Meta(ge=1)] = 3

    @property
    def names(self) -> int:
        return len(self.words.names)

    @property
    def colours(self) -> int:
        return len(self.words.colours)

    @property
    def rows(self) -> int:
        """Rows of a picture in a prompt."""
        return self.words.rows(THINGS)

    @property
    def row_width(self) -> int:
        return len(self.words.pieces)

    @classmethod
    def from_config(cls, table: Mapping[str, Any]) -> "GridSizes":
        """Raises CheckpointError for a size or a word that is unknown, absent or out of bounds."""
        try:
            return msgspec.convert(table, cls)
        except msgspec.ValidationError as error:
            raise CheckpointError(f"a grid encoder's sizes are wrong or absent: {error}") from error

    def to_config(self) -> dict[str, Any]:
        made: dict[str, Any] = msgspec.to_builtins(self)
        return made
