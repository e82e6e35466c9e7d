"""From arrival times of tokens to the figures of the tables."""

import itertools
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Case:
    """`width` requests at once, each of `prompt` tokens, each answered with `new` tokens."""

    prompt: int
    new: int
    width: int


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement of one case.

    arrivals: for each request, seconds from the start to each of its tokens, or chunks where several may share one.
    tokens: tokens of each request. ids: the tokens themselves where they are known.
    others: share of the machine's cores that processes other than the measured ones kept busy meanwhile.
    """

    arrivals: tuple[tuple[float, ...], ...]
    tokens: tuple[int, ...]
    ids: tuple[tuple[int, ...], ...] = ()
    prompt_tokens: int | None = None
    others: float | None = None

    @property
    def seconds(self) -> float:
        return max(times[-1] for times in self.arrivals)

    @property
    def tokens_per_s(self) -> float:
        """All tokens over the time from the start to the last of them: prompts included."""
        return sum(self.tokens) / self.seconds

    @property
    def decode_per_s(self) -> float | None:
        """Tokens a second once every request has its first; None where arrivals are not single tokens."""
        if any(len(times) != count for times, count in zip(self.arrivals, self.tokens, strict=True)):
            return None
        start = max(times[0] for times in self.arrivals)
        after = sum(time > start for times in self.arrivals for time in times)
        return after / (self.seconds - start) if after and self.seconds > start else None


@dataclass(frozen=True, slots=True)
class Summary:
    """Several runs of one case: medians of rates over runs, percentiles over all requests and gaps. Seconds."""

    runs: int
    tokens_per_s: float
    spread: float  # (highest - lowest) / median of tokens_per_s
    decode_per_s: float | None
    first_p50: float
    first_p99: float
    gap_p50: float | None
    gap_p99: float | None
    tokens: float  # of one request, mean
    others: float | None  # highest of the runs


def summarise(runs: Sequence[Run]) -> Summary:
    rates = [run.tokens_per_s for run in runs]
    decodes = [run.decode_per_s for run in runs if run.decode_per_s is not None]
    firsts = [times[0] for run in runs for times in run.arrivals]
    gaps = [gap for run in runs for times in run.arrivals for gap in _gaps(times)]
    others = [run.others for run in runs if run.others is not None]
    middle = statistics.median(rates)
    return Summary(
        runs=len(runs),
        tokens_per_s=middle,
        spread=(max(rates) - min(rates)) / middle,
        decode_per_s=statistics.median(decodes) if decodes else None,
        first_p50=percentile(firsts, 50),
        first_p99=percentile(firsts, 99),
        gap_p50=percentile(gaps, 50) if gaps else None,
        gap_p99=percentile(gaps, 99) if gaps else None,
        tokens=statistics.fmean(count for run in runs for count in run.tokens),
        others=max(others) if others else None,
    )


def percentile(values: Iterable[float], percent: float) -> float:
    """Linear interpolation between the two nearest values, as numpy's default."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def agreement(run: Run, reference: Run) -> float | None:
    """Mean share of the tokens up to the first that differs from the reference's; None where ids are not known."""
    if not run.ids or len(run.ids) != len(reference.ids):
        return None
    return statistics.fmean(_common(*pair) / max(len(pair[1]), 1) for pair in zip(run.ids, reference.ids, strict=True))


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Least squares: growth of y for one x."""
    return statistics.linear_regression(xs, ys).slope


def _common(ids: Sequence[int], others: Sequence[int]) -> int:
    return next((n for n, pair in enumerate(zip(ids, others, strict=False)) if pair[0] != pair[1]), len(others))


def _gaps(times: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(times)]
