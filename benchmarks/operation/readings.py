"""Readings from Prometheus: a counter's growth over the run, across restarts of the processes that count."""

import json
import urllib.parse
import urllib.request
from itertools import pairwise

WINDOW = "1h"


class Readings:
    """Raw samples, so that nothing is extrapolated."""

    def __init__(self, address: str) -> None:
        self._address = address

    def growth(self, name: str) -> float:
        """The sum over all series; a value below the one before it is a process that began anew."""
        return sum(_growth([float(value) for _, value in series["values"]]) for series in self._series(name))

    def mean(self, histogram: str) -> float:
        """Seconds; 0 where nothing was observed."""
        count = self.growth(f"{histogram}_count")
        return self.growth(f"{histogram}_sum") / count if count else 0.0

    def highest(self, name: str) -> float:
        return max((float(value) for series in self._series(name) for _, value in series["values"]), default=0.0)

    def _series(self, name: str) -> list[dict[str, list[tuple[float, str]]]]:
        query = urllib.parse.urlencode({"query": f"{name}[{WINDOW}]"})
        with urllib.request.urlopen(f"{self._address}/api/v1/query?{query}", timeout=30) as answer:
            found: list[dict[str, list[tuple[float, str]]]] = json.load(answer)["data"]["result"]
        return found


def _growth(values: list[float]) -> float:
    """A series that begins while we look began at 0."""
    return values[0] + sum(after - before if after >= before else after for before, after in pairwise(values))
