"""A training-free cache of image features that draws other media towards pictures (ImageBind-LLM, section 3.3).

ImageBind's modalities lie in one space but apart from one another, and a language model that was trained on pictures
reads them best. So a feature is mixed with the pictures' features that are nearest to it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

ROWS_AT_ONCE = 65_536  # of a product: a file that is mapped is read in stretches of this, not copied whole


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


@dataclass(frozen=True, slots=True)
class VisualCache:
    """vectors [N, E]: image features of length one, in any floating type."""

    vectors: Tensor

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, query: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """The `size` largest inner products with a [E] query, descending, and their rows: an exact search."""
        size = min(size, len(self))
        best, rows = query.new_empty(0), torch.empty(0, dtype=torch.long, device=query.device)
        for begin in range(0, len(self), ROWS_AT_ONCE):
            scores = (self.vectors[begin : begin + ROWS_AT_ONCE] @ query.to(self.vectors.dtype)).float()
            found = scores.topk(min(size, len(scores)))
            best = torch.cat([best, found.values])
            rows = torch.cat([rows, found.indices + begin])
            kept = best.topk(min(size, len(best)))
            best, rows = kept.values, rows[kept.indices]
        return best, rows

    def retrieve(self, feature: Tensor, options: CacheOptions) -> Retrieved:
        """The [E] feature drawn towards the nearest rows. It is compared as it is, not normalised first."""
        similarities, rows = self.search(feature, options.size)
        shares = (similarities * options.temperature).softmax(dim=-1)
        found = normalize(shares @ self.vectors[rows].float(), dim=-1)
        joined = (1 - options.weight) * feature + options.weight * found
        return Retrieved(normalize(joined, dim=-1), tuple(rows.tolist()), tuple(similarities.tolist()))
