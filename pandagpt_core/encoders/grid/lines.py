"""The things of a picture as soft tokens: a short text, one line for each thing, that a language model can read.

A row holds one piece of the text, as shares of the pieces that it may be; a projection that begins as the language
model's own embeddings of those pieces makes words of the rows. A line is

    red apple 2 top left<12><30><45><60

with the colour, the name, how many things of the picture have that name, the place, and the sides of the box on the
0..100 grid, digit by digit, as an answer writes them. The first line is the number of things.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor

GRID = 100
SIDES = 4
DIGITS = 10
NONE = DIGITS  # a number below ten has one character: the second is none

Spelling = tuple[str, ...]
Spellings = Annotated[tuple[Spelling, ...], Meta(min_length=1)]
OnePiece = Annotated[tuple[str, ...], Meta(min_length=1, max_length=1)]


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Each word as the pieces that the language model's tokenizer makes of it.

    places: thirds of the picture, row by row. opening, between: before the first side of a box, and the others.
    """

    names: Spellings
    colours: Spellings
    places: Annotated[tuple[Spelling, ...], Meta(min_length=9, max_length=9)]
    digits: Annotated[tuple[OnePiece, ...], Meta(min_length=DIGITS, max_length=DIGITS)]
    opening: OnePiece
    between: OnePiece
    ending: OnePiece

    @property
    def pieces(self) -> tuple[str, ...]:
        """The different pieces, in the order of a row's numbers."""
        tables = (self.names, self.colours, self.places, self.digits, (self.opening, self.between, self.ending))
        return tuple(dict.fromkeys(piece for table in tables for spelling in table for piece in spelling))

    @property
    def line(self) -> int:
        """Rows of the longest line."""
        longest = sum(max(map(len, table)) for table in (self.names, self.colours, self.places))
        return longest + 1 + 3 * SIDES + 1  # the count, a mark and two digits for each side, the ending

    def rows(self, things: int) -> int:
        """Rows of a picture with at most so many things."""
        return things * self.line + 2


@dataclass(frozen=True, slots=True)
class FoundThings:
    """M things of each of N pictures, in reading order: [N, M, names] and [N, M, colours] shares that sum to 1,
    [N, M, 4] boxes of 0 to 1, and [N, M] booleans: whether there is such a thing at all.
    """

    names: Tensor
    colours: Tensor
    boxes: Tensor
    real: Tensor


@dataclass(frozen=True, slots=True)
class _Slots:
    """[..., K, V] rows, and [..., K] booleans: which of them are written."""

    rows: Tensor
    written: Tensor


@dataclass(frozen=True, slots=True)
class LineWriter:
    """Writes rows [N, words.rows(M), V]; empty lines come first, so that the text ends where a question begins."""

    words: Words

    def write(self, found: FoundThings) -> Tensor:
        lines = _joined(self._facts(found))
        lines = _Slots(lines.rows.flatten(1, 2), (lines.written & found.real[..., None]).flatten(1, 2))
        total = found.real.sum(dim=1).clamp_max(DIGITS - 1)
        slots = _joined([self._chosen(self.words.digits, total), self._mark(self.words.ending, total), lines])
        order = slots.written.long().argsort(dim=1, stable=True)
        empty = self._mark(self.words.ending, total).rows
        rows = torch.where(slots.written[..., None], slots.rows, empty)
        return rows.gather(1, order[..., None].expand_as(rows))

    def _facts(self, found: FoundThings) -> list[_Slots]:
        words, digits = self.words, (*self.words.digits, ())
        characters = characters_of(found.boxes)
        facts = [
            self._likely(words.colours, found.colours),
            self._likely(words.names, found.names),
            self._chosen(words.digits, same_names(found).clamp_max(DIGITS - 1)),
            self._chosen(words.places, place_of(found.boxes)),
        ]
        for side in range(SIDES):
            facts.append(self._mark(words.between if side else words.opening, characters[..., 0]))
            facts += [self._chosen(digits, characters[..., 2 * side + at]) for at in (0, 1)]
        return [*facts, self._mark(words.ending, characters[..., 0])]

    def _chosen(self, table: Sequence[Spelling], at: Tensor) -> _Slots:
        return self._likely(table, F.one_hot(at, len(table)).float())

    def _mark(self, one: Spelling, like: Tensor) -> _Slots:
        return self._chosen((one,), torch.zeros_like(like, dtype=torch.long))

    def _likely(self, table: Sequence[Spelling], shares: Tensor) -> _Slots:
        """As many pieces as the likeliest has; each is that of every word that has so many, by its share."""
        columns = {piece: at for at, piece in enumerate(self.words.pieces)}
        longest = max(map(len, table))
        spelled = torch.zeros(len(table), longest, len(columns))
        for word, spelling in enumerate(table):
            for at, piece in enumerate(spelling):
                spelled[word, at, columns[piece]] = 1
        lengths = torch.tensor([len(spelling) for spelling in table], device=shares.device)[shares.argmax(dim=-1)]
        rows = torch.einsum("...w,wkv->...kv", shares.float(), spelled.to(shares.device))
        return _Slots(rows, lengths[..., None] > torch.arange(longest, device=shares.device))


def _joined(some: Sequence[_Slots]) -> _Slots:
    return _Slots(torch.cat([one.rows for one in some], dim=-2), torch.cat([one.written for one in some], dim=-1))


def same_names(found: FoundThings) -> Tensor:
    """[N, M]: how many things of the picture have the likeliest name of each, itself with them."""
    likeliest = found.names.argmax(dim=-1)
    same = (likeliest[:, :, None] == likeliest[:, None, :]) & found.real[:, None, :]
    return same.sum(dim=-1)


def place_of(boxes: Tensor) -> Tensor:
    """[..., 4] to [...]: which ninth of the picture a box has its centre in."""
    column, row = ((boxes[..., at] + boxes[..., at + 2]).mul(1.5).long().clamp(0, 2) for at in (0, 1))
    return 3 * row + column


def characters_of(boxes: Tensor) -> Tensor:
    """[..., 4] to [..., 8]: the characters of the sides in turn, cut to whole steps as `boxes.write_box` cuts them."""
    steps = (boxes * GRID + 1e-4).floor().long().clamp(0, GRID - 1)
    tens, units = steps // 10, steps % 10
    single = tens == 0
    pairs = torch.where(single, units, tens), torch.where(single, torch.full_like(units, NONE), units)
    return torch.stack(pairs, dim=-1).flatten(-2)
