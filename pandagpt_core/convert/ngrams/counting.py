"""Counts of n-grams in answers, as the arrays of a table (`engine.speculation.ngram_table`)."""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from pandagpt_core.engine.speculation.ngram_table import BITS, LONGEST

SEEN = 2  # times that a context has to stand in the answers
DOUBT = 3  # further times that another token followed: with them rates are as often right as they state


def count_ngrams(answers: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    """The table's arrays. answers: ids, each with the `LONGEST` ids of the prompt's end before them."""
    held = [np.asarray(answer, dtype=np.int64) for answer in answers]
    arrays: dict[str, np.ndarray] = {}
    for n in range(1, LONGEST + 1):
        windows = [sliding_window_view(ids[LONGEST - n :], n + 1) for ids in held if len(ids) > LONGEST]
        together = np.concatenate([np.empty((0, n + 1), np.int64), *windows])
        arrays |= {f"{part}.{n}": array for part, array in _most_often(together).items()}
    return arrays


def _most_often(windows: np.ndarray) -> dict[str, np.ndarray]:
    """Of windows [W, n + 1], the token that most often follows each context; of two as often, the smaller id."""
    contexts = np.zeros(len(windows), np.int64)
    for column in windows[:, :-1].T:
        contexts = contexts << BITS | column
    order = np.lexsort((windows[:, -1], contexts))
    contexts, tokens = contexts[order], windows[order, -1]
    firsts = _firsts(contexts, tokens)
    counts = np.diff(firsts, append=len(contexts))
    contexts, tokens = contexts[firsts], tokens[firsts]
    order = np.lexsort((-counts, contexts))  # the same contexts as before, each one's most frequent token first
    starts = _firsts(contexts)
    totals, best = np.add.reduceat(counts, starts), order[starts]
    kept = totals >= SEEN
    best, totals = best[kept], totals[kept]
    rates = counts[best] / (totals + DOUBT)
    return {
        "contexts": contexts[best],
        "tokens": tokens[best].astype(np.int32),
        "rates": rates.astype(np.float32),
    }


def _firsts(*columns: np.ndarray) -> np.ndarray:
    """The places at which a run of equal rows begins."""
    changed = np.any([np.diff(column, prepend=-1) != 0 for column in columns], axis=0)
    return np.flatnonzero(changed)
