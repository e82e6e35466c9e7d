"""Rows of a picture made from its known contents, as a grid encoder without errors would give them.

The language model learns from these, with the encoder's doubts about names and colours put in, so that it need not wait
for pictures to be drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pandagpt_core.encoders.grid.lines import FoundThings, LineWriter, Words
from pandagpt_core.encoders.grid.sizes import THINGS
from pandagpt_core.llm.tokenizers.base import Tokenizer
from recipes.panda_locate.plans import in_order
from recipes.panda_locate.things import COLOURS, NAMES, PLACES, DrawnThing

_PLAIN = "plain"  # the last colour is none of them


@dataclass(frozen=True, slots=True)
class Noise:
    """The encoder's doubts about names and colours: the greatest share that goes to others, and the odds of any.

    plain: how often a tinted thing looks about as much as if it had none of the colours, the head's commonest doubt.
    """

    share: float = 0.45
    often: float = 0.3
    plain: float = 0.1


def words_of(tokenizer: Tokenizer) -> Words:
    """The words of rows, in the pieces that the language model has for them where answers write the same."""

    def spelled(text: str) -> tuple[str, ...]:
        return tuple(tokenizer.decode([token]) for token in tokenizer.encode(text))

    def piece(text: str) -> tuple[str]:
        (one,) = spelled(text)
        return (one,)

    return Words(
        names=tuple(spelled(f" {name}") for name in NAMES),
        colours=tuple(map(spelled, (*COLOURS, _PLAIN))),
        places=tuple(map(spelled, PLACES)),
        digits=tuple(piece(str(digit)) for digit in range(10)),
        opening=piece("<"),
        between=piece("><"),
        ending=piece("\n"),
    )


def imagined_rows(words: Words, things: Sequence[DrawnThing], rng: np.random.Generator, noise: Noise) -> Tensor:
    """[R, K]: the things, in reading order."""
    ordered = in_order(list(things))[:THINGS]
    missing = THINGS - len(ordered)
    names = _shares([*(one.name for one in ordered), *[0] * missing], len(words.names), rng, noise)
    count = len(words.colours)
    colours = _shares([*(one.colour % count for one in ordered), *[0] * missing], count, rng, noise)
    _doubted(colours, rng, noise)
    boxes = torch.tensor([*(one.box for one in ordered), *[(0.0,) * 4] * missing])
    real = torch.arange(THINGS) < len(ordered)
    found = FoundThings(names[None], colours[None], boxes[None], real[None])
    return LineWriter(words).write(found)[0]


def _shares(right: Sequence[int], count: int, rng: np.random.Generator, noise: Noise) -> Tensor:
    shares = torch.zeros(len(right), count)
    for index, at in enumerate(right):
        other = float(rng.uniform(0, noise.share)) if rng.random() < noise.often else 0.0
        shares[index, at] += 1 - other
        shares[index, int(rng.integers(count))] += other
    return shares


def _doubted(colours: Tensor, rng: np.random.Generator, noise: Noise) -> None:
    """In place: of some things a good half of what their colour has goes to the last, none of the colours."""
    for one in colours:
        if rng.random() < noise.plain:
            given = one * float(rng.uniform(0.4, 0.65))
            one -= given
            one[-1] += given.sum()
