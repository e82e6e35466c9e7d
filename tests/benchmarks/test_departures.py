"""The measurement of cancels ends with a verdict, which other work on the machine suspends."""

import pytest

from benchmarks.departures import verdict


@pytest.mark.parametrize(
    ("last_s", "others", "status", "words"),
    [
        ((0.02, 0.03, 0.5), 0.0, 0, ""),
        ((0.02, 0.2, 0.5), 0.05, 1, "after 200 ms; 100 ms are promised: the promise is broken"),
        ((0.02, 0.2, 0.5), 0.6, 0, "other work took 60% of the cores, so this is no verdict"),
    ],
)
def test_a_median_above_a_tenth_of_a_second_fails_on_a_quiet_machine(
    last_s: tuple[float, ...], others: float, status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verdict([{"last": last, "others": others} for last in last_s]) == status
    assert words in capsys.readouterr().err
