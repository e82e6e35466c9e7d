"""Passes over rows of logits. By numpy on a CPU: torch shares short ones among threads, which have to wake first."""

import numpy as np
import torch
from torch import Tensor


def largest_ids(logits: Tensor) -> Tensor:
    """[R] token ids: of each row [R, V] the largest, the first of equal ones."""
    if logits.device.type == "cpu":
        return torch.from_numpy(logits.numpy().argmax(axis=-1))
    return logits.argmax(dim=-1)


def finite_rows(logits: Tensor) -> list[bool]:
    """Whether all numbers of a row [R, V] are finite, for each row: their sum is then."""
    if logits.device.type == "cpu":
        with np.errstate(over="ignore", invalid="ignore"):
            return [bool(one) for one in np.isfinite(logits.numpy().sum(axis=-1))]
    return [bool(one) for one in logits.sum(dim=-1).isfinite().tolist()]


def chosen_rows(logits: Tensor, rows: list[int]) -> Tensor:
    """These rows [R, V], in their order; not copied where they follow one another."""
    if rows == list(range(rows[0], rows[0] + len(rows))):
        return logits[rows[0] : rows[0] + len(rows)]
    return logits[rows]
