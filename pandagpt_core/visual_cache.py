"""A training-free cache of image features that draws other media towards pictures (ImageBind-LLM, section 3.3).

ImageBind's modalities lie in one space but apart from one another, and a language model that was trained on pictures
reads them best. So a feature is mixed with the pictures' features that are nearest to it.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pandagpt_core.types import NOTHING_FOUND, Found, Nearest

# Rows of a product: 32 MiB of the published width. A file that is mapped is read in stretches of this, not copied
# whole, and on a CPU the other requests of a worker wait for no longer than one.
ROWS_AT_ONCE = 8192


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """size: rows that are retrieved, 0 for none. temperature: multiplies similarities before the softmax. weight: the
    share of what was retrieved."""

    size: int = 10
    temperature: float = 20.0
    weight: float = 0.5


@dataclass(frozen=True, slots=True)
class Retrieved:
    """feature [E], of length one; the rows that made it, the nearest first, with their inner products."""

    feature: Tensor
    rows: tuple[int, ...]
    similarities: tuple[float, ...]


@dataclass(slots=True)
class Search:
    """The `size` rows of [N, E] vectors with the largest inner products with a [E] query, stretch by stretch."""

    vectors: Tensor
    query: Tensor
    size: int
    _done: int = 0  # rows that were compared
    _best: Tensor = field(init=False)
    _rows: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self._best = self.query.new_empty(0)
        self._rows = torch.empty(0, dtype=torch.long, device=self.query.device)

    @property
    def is_done(self) -> bool:
        return self._done >= len(self.vectors)

    @torch.inference_mode()
    def step(self) -> None:
        """Compare the next rows."""
        some = self.vectors[self._done : self._done + ROWS_AT_ONCE]
        scores = (some @ self.query.to(some.dtype)).float()
        found = scores.topk(min(self.size, len(scores)))
        best, rows = torch.cat([self._best, found.values]), torch.cat([self._rows, found.indices + self._done])
        kept = best.topk(min(self.size, len(best)))
        self._best, self._rows = kept.values, rows[kept.indices]
        self._done += len(some)

    @property
    def nearest(self) -> Nearest:
        return tuple(self._best.tolist()), tuple(self._rows.tolist())


@dataclass(frozen=True, slots=True)
class VisualCache:
    """vectors [N, E]: image features of length one, in any floating type."""

    vectors: Tensor

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def is_long(self) -> bool:
        """Whether a search is worth dividing: on a CPU a million rows take a second, on an accelerator milliseconds."""
        return self.vectors.device.type == "cpu" and len(self) > ROWS_AT_ONCE

    def search(self, query: Tensor, size: int) -> Nearest:
        """The `size` largest inner products with a [E] query, descending, and their rows: an exact search."""
        search = Search(self.vectors, query, size)
        while not search.is_done:
            search.step()
        return search.nearest

    def retrieve(self, feature: Tensor, options: CacheOptions, found: Found = NOTHING_FOUND) -> Retrieved:
        """The [E] feature drawn towards the nearest rows. It is compared as it is, not normalised first.

        `found`: searches that were made before; one that is not among them is made here.
        """
        nearest = found.get(named(feature, options.size)) or self.search(feature, options.size)
        similarities, rows = nearest
        shares = (torch.tensor(similarities, device=feature.device) * options.temperature).softmax(dim=-1)
        mean = normalize(shares @ self.vectors[list(rows)].float(), dim=-1)
        joined = (1 - options.weight) * feature + options.weight * mean
        return Retrieved(normalize(joined, dim=-1), rows, similarities)


def named(query: Tensor, size: int) -> tuple[bytes, int]:
    """The name of a search among those found."""
    return query.float().cpu().numpy().tobytes(), size
