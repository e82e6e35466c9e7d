"""The cost of a row more in a step, learned from the steps' times."""

PRIOR = 0.1  # of the time of a step of one row, before any two steps had other numbers of rows
WEIGHT = 0.1  # of the prior, as squared rows of variation
FORGET = 0.98  # what a step counts for, of what the one after it counts
STEADY = 8  # steps, after which one that takes more than OUTLIER times what was expected counts as that
OUTLIER = 2.0
LEAST = 0.02  # of a step's time that a row costs in any case


class StepCost:
    """Seconds of a step of `rows` as a line, fitted by least squares to the steps seen, later ones counting more."""

    def __init__(self) -> None:
        self._count = self._rows = self._seconds = self._squares = self._products = 0.0
        self._seen = 0

    def observe(self, rows: int, seconds: float) -> None:
        if self._seen >= STEADY:
            seconds = min(seconds, OUTLIER * self._expected(rows))
        self._seen += 1
        kept = FORGET
        self._count = self._count * kept + 1
        self._rows = self._rows * kept + rows
        self._seconds = self._seconds * kept + seconds
        self._squares = self._squares * kept + rows * rows
        self._products = self._products * kept + rows * seconds

    def of_a_row(self, rows: int) -> float:
        """The time of one row more, as a part of that of a step of `rows`."""
        if not self._seen:
            return PRIOR / (1 + PRIOR * (rows - 1))
        return max(LEAST / rows, self._slope() / max(self._expected(rows), 1e-9))

    def _expected(self, rows: int) -> float:
        return self._mean_seconds + self._slope() * (rows - self._mean_rows)

    def _slope(self) -> float:
        rows, seconds = self._mean_rows, self._mean_seconds
        prior = seconds * PRIOR / (1 + PRIOR * (rows - 1))
        together = self._products / self._count - rows * seconds
        variation = self._squares / self._count - rows * rows
        return max(0.0, (together + WEIGHT * prior) / (variation + WEIGHT))

    @property
    def _mean_rows(self) -> float:
        return self._rows / self._count

    @property
    def _mean_seconds(self) -> float:
        return self._seconds / self._count
