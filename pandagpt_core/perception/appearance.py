"""Colours, grounds and shapes of a picture, by plain arithmetic on its pixels, and their words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from pandagpt_core.perception.reading import Thing
from pandagpt_core.perception.rows import Measures, ThingRow

Pixels = npt.NDArray[np.float32]  # [H, W, 3], 0 to 255
COLOUR_NAMES = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "gray")
SECOND_COLOUR, GROUND_COLOUR = 0.3, 0.3  # shares from which a second colour is named
_LARGER = 1.8  # of areas, for large and small
_RIM = 0.06  # of a side
_NEAR = 28.0  # colours that differ less, in the length of RGB, are one
_CELL = 4  # pixels of a side of the cells in which shapes are distinguished
_LEAST, _MOST = 0.003, 0.9  # of the picture's area, for a shape
_SHAPES = 8
_PLAIN = 0.93  # of the rim, for shapes to be distinguished from their ground
_SAME_GROUND = 0.6  # of the rim; pixels like it do not count among the subject's colours
_AROUND, _ENOUGH = 0.7, 0.15  # of the surroundings' shares, taken off a subject's; the least rest of those
_LEFT = 0.08  # of the middle, the least rest then


def colour_ids(rgb: Pixels) -> npt.NDArray[np.int64]:
    """[H, W]: which of `COLOUR_NAMES` each pixel is, from hue, saturation and brightness."""
    x = rgb / 255.0
    high, low = x.max(axis=-1), x.min(axis=-1)
    span = high - low
    red, green, blue = np.moveaxis(x, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        hue = np.select(
            [span == 0, high == red, high == green],
            [np.zeros_like(high), (green - blue) / span % 6, (blue - red) / span + 2],
            (red - green) / span + 4,
        )
        saturation = np.where(high > 0, span / high, 0)
    hue = hue * 60
    dark = high < 0.2
    grey = (saturation < 0.16) | (span < 0.07)
    names = np.select(
        [
            dark,
            grey & (high > 0.8),
            grey & (high < 0.28),
            grey,
            (hue < 14) | (hue >= 345),
            hue < 42,
            (hue < 66) & ((hue < 50) | (high > 0.62)),
            hue < 170,
            hue < 255,
            hue < 295,
        ],
        [8, 9, 8, 10, 0, 1, 2, 3, 4, 5],
        6,
    )
    brown = (hue >= 8) & (hue < 45) & (high < 0.66) & ~dark & ~grey
    dull = (hue >= 14) & (hue < 50) & (saturation < 0.45) & ~dark & ~grey
    rosy = ((hue < 14) | (hue >= 330)) & (saturation < 0.55) & (high > 0.7) & ~grey
    return np.where(brown | dull, 7, np.where(rosy, 6, names))


def apart(shares: tuple[float, ...], around: tuple[float, ...]) -> tuple[float, ...]:
    """Shares of colours less those of what is around, where enough is left: a subject on a ground of other colours."""
    left = [max(0.0, own - _AROUND * other) for own, other in zip(shares, around, strict=True)]
    return tuple(value / sum(left) for value in left) if sum(left) >= _ENOUGH else shares


def colour_shares(ids: npt.NDArray[np.int64], mask: npt.NDArray[np.bool_]) -> tuple[float, ...]:
    counts = np.bincount(ids[mask], minlength=len(COLOUR_NAMES))
    return tuple((counts / max(1, counts.sum())).tolist())


@dataclass(frozen=True, slots=True)
class Looked:
    measures: Measures
    shapes: tuple[ThingRow, ...]
    ids: npt.NDArray[np.int64]
    away: npt.NDArray[np.bool_]  # pixels unlike the ground
    rim_colour: tuple[float, float, float]


def look(rgb: Pixels) -> Looked:
    height, width = rgb.shape[:2]
    ids = colour_ids(rgb)
    rim = np.ones((height, width), bool)
    rim[round(height * _RIM) : -round(height * _RIM), round(width * _RIM) : -round(width * _RIM)] = False
    ground = np.median(rgb[rim], axis=0)
    away = np.linalg.norm(rgb - ground, axis=-1) > _NEAR
    plain = float(1 - away[rim].mean())
    shapes = tuple(_shapes(away, ids)) if plain > _PLAIN else ()
    middle = _ellipse(height, width, 0.1, 0.1, 0.9, 0.9, 0.75)
    subject = away & middle if plain > _SAME_GROUND and (away & middle).sum() >= _LEFT * middle.sum() else middle
    measures = Measures(
        float(rgb.std()),
        _neighbours(rgb),
        _slope(rgb),
        plain,
        apart(colour_shares(ids, subject if subject.any() else middle), colour_shares(ids, rim)),
        colour_shares(ids, rim),
    )
    return Looked(measures, shapes, ids, away, (float(ground[0]), float(ground[1]), float(ground[2])))


def inside(looked: Looked, box: tuple[float, float, float, float]) -> tuple[float, ...]:
    """Shares of colours in the middle of a box, in shares of the picture's sides."""
    height, width = looked.ids.shape
    mask = _ellipse(height, width, *box, 0.7)
    off_ground = mask & looked.away
    few = looked.measures.plain <= _SAME_GROUND or off_ground.sum() < 2 * _LEFT * mask.sum()
    return apart(colour_shares(looked.ids, mask if few else off_ground), looked.measures.ground)


def _ellipse(
    height: int, width: int, left: float, top: float, right: float, bottom: float, share: float
) -> npt.NDArray[np.bool_]:
    y, x = np.mgrid[0:height, 0:width]
    x, y = (x + 0.5) / width, (y + 0.5) / height
    across, down = max(right - left, 1e-3) * share / 2, max(bottom - top, 1e-3) * share / 2
    found: npt.NDArray[np.bool_] = ((x - (left + right) / 2) / across) ** 2 + (
        (y - (top + bottom) / 2) / down
    ) ** 2 <= 1
    return found


def _neighbours(rgb: Pixels) -> float:
    """The correlation of each pixel's brightness with its right neighbour's; 1 for a picture of one colour."""
    grey = rgb.mean(axis=-1)
    one, other = grey[:, :-1].ravel(), grey[:, 1:].ravel()
    spread = one.std() * other.std()
    return 1.0 if spread < 1e-3 else float(((one - one.mean()) * (other - other.mean())).mean() / spread)


def _slope(rgb: Pixels) -> float:
    grey = torch.from_numpy(np.ascontiguousarray(rgb.mean(axis=-1)))[None, None]
    coarse = F.avg_pool2d(grey, 8)[0, 0].numpy()
    return float(max(np.abs(np.diff(coarse, axis=axis)).max() for axis in (0, 1)))


def _shapes(away: npt.NDArray[np.bool_], ids: npt.NDArray[np.int64]) -> Iterator[ThingRow]:
    """Shapes on a plain ground, the largest first; parts that nearly touch are one. A crowd gives none."""
    height, width = away.shape
    cells = F.max_pool2d(torch.from_numpy(away.astype(np.float32))[None, None], _CELL)
    joined = F.max_pool2d(cells, 3, 1, 1)[0, 0].numpy() > 0
    labels, count = _labelled(joined)
    found = []
    for label in range(1, count + 1):
        ys, xs = np.nonzero((labels == label) & (cells[0, 0].numpy() > 0))
        if len(ys) * _CELL**2 < _LEAST * height * width:
            continue
        top, bottom, left, right = ys.min(), ys.max() + 1, xs.min(), xs.max() + 1
        x, y = _CELL / width, _CELL / height
        box = (float(left * x), float(top * y), float(right * x), float(bottom * y))
        mask = np.zeros_like(away)
        part = np.s_[top * _CELL : bottom * _CELL, left * _CELL : right * _CELL]
        mask[part] = away[part]
        found.append(ThingRow(1.0, -1, *box, colour_shares(ids, mask)))
    if len(found) <= _SHAPES and sum(shape.area for shape in found) < _MOST:
        yield from sorted(found, key=lambda shape: -shape.area)


def _labelled(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], int]:
    """Connected parts, numbered from 1."""
    labels = np.zeros(mask.shape, np.int64)
    count = 0
    for start in zip(*np.nonzero(mask), strict=True):
        if labels[start]:
            continue
        count += 1
        labels[start] = count
        waiting = [start]
        while waiting:
            y, x = waiting.pop()
            for near in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= near[0] < mask.shape[0] and 0 <= near[1] < mask.shape[1] and mask[near] and not labels[near]:
                    labels[near] = count
                    waiting.append(near)
    return labels, count


def shades(shares: Sequence[float], second: float) -> tuple[str, ...]:
    """Words for shares of `COLOUR_NAMES`: the strongest colour, and the next where its share is at least `second`."""
    order = sorted(range(len(shares)), key=lambda at: -shares[at])[:2]
    if not shares or shares[order[0]] == 0:
        return ()
    return tuple(COLOUR_NAMES[at] for rank, at in enumerate(order) if rank == 0 or shares[at] >= second)


def placed(rows: Sequence[ThingRow], names: Sequence[str]) -> tuple[Thing, ...]:
    """Things in words: their colours, where they are, and which of them are large."""
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
