"""Things of a picture in words: their colours, where they are, and which of them are large."""

from collections.abc import Sequence

from pandagpt_core.perception.looks import COLOUR_NAMES
from pandagpt_core.perception.reading import Thing
from pandagpt_core.perception.rows import ThingRow

SECOND_COLOUR, GROUND_COLOUR = 0.3, 0.3  # shares from which a second colour is named
_LARGER = 1.8  # of areas, for large and small


def shades(shares: Sequence[float], second: float) -> tuple[str, ...]:
    order = sorted(range(len(shares)), key=lambda at: -shares[at])[:2]
    if not shares or shares[order[0]] == 0:
        return ()
    return tuple(COLOUR_NAMES[at] for rank, at in enumerate(order) if rank == 0 or shares[at] >= second)


def placed(rows: Sequence[ThingRow], names: Sequence[str]) -> tuple[Thing, ...]:
    areas = [row.area for row in rows]
    return tuple(
        Thing(name, shades(row.colours, SECOND_COLOUR), place(*row.middle), _size(row.area, areas))
        for row, name in zip(rows, names, strict=True)
    )


def place(x: float, y: float) -> str:
    """ "top left" ... "middle"; a thing in the middle row is only left or right."""
    across = "left" if x < 0.4 else "right" if x > 0.6 else ""
    down = "top" if y < 0.38 else "bottom" if y > 0.62 else ""
    return f"{down} {across}".strip() or "middle"


def _size(area: float, areas: Sequence[float]) -> str:
    if len(areas) < 2:
        return ""
    if area * _LARGER <= max(areas):
        return "small"
    return "large" if area >= _LARGER * min(areas) else ""
