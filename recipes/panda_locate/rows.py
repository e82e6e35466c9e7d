"""Rows of a picture made from what is known to be in it: what the grid encoder would give if it saw without error.

The language model learns from these, with the encoder's doubts about names and colours put in, so that it need not wait
for pictures to be drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pandagpt_core.encoders.grid.codes import CHARACTERS, Codes
from pandagpt_core.encoders.grid.encoder import THINGS
from recipes.panda_locate.plans import in_order
from recipes.panda_locate.things import COLOURS, NAMES, DrawnThing

CODES = Codes(len(NAMES), len(COLOURS) + 1)  # the last colour is none of them
ROWS = THINGS * CHARACTERS


@dataclass(frozen=True, slots=True)
class Noise:
    """How unsure of names and colours the encoder is: the greatest share that goes to others, and how often any."""

    share: float = 0.45
    often: float = 0.5


def imagined_rows(things: Sequence[DrawnThing], rng: np.random.Generator, noise: Noise) -> Tensor:
    """[64, width]: each thing's eight rows, in reading order, then zeros."""
    rows = torch.zeros(ROWS, CODES.width)
    ordered = in_order(list(things))
    if ordered:
        names = _shares([one.name for one in ordered], CODES.names, rng, noise)
        colours = _shares([one.colour % CODES.colours for one in ordered], CODES.colours, rng, noise)
        written = CODES.write(names, colours, torch.tensor([one.box for one in ordered])).flatten(0, 1)
        rows[: len(written)] = written
    return rows


def _shares(right: Sequence[int], count: int, rng: np.random.Generator, noise: Noise) -> Tensor:
    shares = torch.zeros(len(right), count)
    for index, at in enumerate(right):
        other = float(rng.uniform(0, noise.share)) if rng.random() < noise.often else 0.0
        shares[index, at] += 1 - other
        shares[index, int(rng.integers(count))] += other
    return shares
