"""A thing that was found, as rows of numbers that a linear layer can read.

A linear projection cannot make digits of a coordinate, and one vector that holds eight digits is hard to take apart. So
a thing has eight rows, one for each character of its box on the 0..100 grid, in the order in which an answer writes
them; every row also says what the thing is.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

GRID = 100
PLACES = 9  # thirds of the picture, row by row
SIZES = 3
SMALL, LARGE = 0.22, 0.34  # of the picture's sides, the longer side of a box
CHARACTERS = 8  # two for each side
DIGITS = 11  # the last is none: a number below ten has one character
NONE = DIGITS - 1


@dataclass(frozen=True, slots=True)
class Codes:
    """How a row of `width` numbers is laid out: names, colours, place, size, which character, digit."""

    names: int
    colours: int

    @property
    def width(self) -> int:
        return self.names + self.colours + PLACES + SIZES + CHARACTERS + DIGITS

    def write(self, names: Tensor, colours: Tensor, boxes: Tensor) -> Tensor:
        """[..., names] and [..., colours] shares that sum to 1, [..., 4] boxes of 0 to 1, to [..., 8, width] rows.

        Shares go in by their roots, so that a certain one has length 1 and a split one too.
        """
        where = F.one_hot(place_of(boxes), PLACES), F.one_hot(size_of(boxes), SIZES)
        same = torch.cat([part.to(boxes.dtype) for part in (names.sqrt(), colours.sqrt(), *where)], dim=-1)
        digits = F.one_hot(characters_of(boxes), DIGITS).to(boxes.dtype)
        which = torch.eye(CHARACTERS, dtype=boxes.dtype, device=boxes.device).expand(*digits.shape[:-1], CHARACTERS)
        return torch.cat((same[..., None, :].expand(*digits.shape[:-1], same.shape[-1]), which, digits), dim=-1)


def place_of(boxes: Tensor) -> Tensor:
    """[..., 4] to [...]: which ninth of the picture a box has its centre in."""
    column, row = ((boxes[..., at] + boxes[..., at + 2]).mul(1.5).long().clamp(0, 2) for at in (0, 1))
    return 3 * row + column


def size_of(boxes: Tensor) -> Tensor:
    """[..., 4] to [...]: 0 small, 1 middling, 2 large."""
    side = torch.maximum(boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1])
    return (side >= SMALL).long() + (side >= LARGE).long()


def characters_of(boxes: Tensor) -> Tensor:
    """[..., 4] to [..., 8]: the characters of the sides in turn, cut to whole steps as `boxes.write_box` cuts them."""
    steps = (boxes * GRID + 1e-4).floor().long().clamp(0, GRID - 1)
    tens, units = steps // 10, steps % 10
    single = tens == 0
    pairs = torch.where(single, units, tens), torch.where(single, torch.full_like(units, NONE), units)
    return torch.stack(pairs, dim=-1).flatten(-2)
