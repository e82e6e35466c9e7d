"""Figures from arrival times, worked out by hand."""

import pytest

from benchmarks.lib.stats import Run, agreement, percentile, slope, summarise


def test_a_percentile_lies_between_its_neighbours() -> None:
    assert percentile([4.0, 1.0, 2.0, 3.0], 50) == 2.5
    assert percentile([1.0, 2.0], 99) == pytest.approx(1.99)
    assert percentile([7.0], 99) == 7.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_the_rate_counts_all_tokens_from_the_start_to_the_last_one() -> None:
    run = Run(arrivals=((1.0, 2.0, 3.0), (1.0, 3.0, 4.0)), tokens=(3, 3))
    assert run.tokens_per_s == pytest.approx(6 / 4)


def test_the_decode_rate_begins_when_every_request_has_its_first_token() -> None:
    run = Run(arrivals=((1.0, 3.0, 4.0), (2.0, 3.0, 4.0)), tokens=(3, 3))
    assert run.decode_per_s == pytest.approx(4 / 2)  # the two first tokens lie before


def test_chunks_of_several_tokens_have_no_decode_rate() -> None:
    run = Run(arrivals=((1.0, 2.0),), tokens=(5,))
    assert run.decode_per_s is None
    assert run.tokens_per_s == pytest.approx(2.5)


def test_a_single_token_has_no_decode_rate() -> None:
    assert Run(arrivals=((1.0,),), tokens=(1,)).decode_per_s is None


def test_a_summary_takes_medians_of_rates_and_percentiles_of_all_gaps() -> None:
    runs = [
        Run(arrivals=((0.5, 1.0),), tokens=(2,), others=0.1),
        Run(arrivals=((1.0, 2.0),), tokens=(2,), others=0.3),
        Run(arrivals=((0.1, 0.5),), tokens=(2,)),
    ]
    summary = summarise(runs)
    assert summary.runs == 3
    assert summary.tokens_per_s == pytest.approx(2.0)
    assert summary.spread == pytest.approx((4.0 - 1.0) / 2.0)
    assert summary.first_p50 == pytest.approx(0.5)
    assert summary.gap_p50 == pytest.approx(0.5)
    assert summary.others == 0.3
    assert summary.tokens == 2


def test_agreement_ends_at_the_first_other_token() -> None:
    def said(*ids: tuple[int, ...]) -> Run:
        return Run(arrivals=tuple((1.0,) * len(one) for one in ids), tokens=tuple(map(len, ids)), ids=ids)

    assert agreement(said((1, 2, 3, 4)), said((1, 2, 3, 4))) == 1.0
    assert agreement(said((1, 9, 3, 4), (5, 6)), said((1, 2, 3, 4), (5, 6))) == pytest.approx((0.25 + 1) / 2)
    assert agreement(Run(((1.0,),), (1,)), said((1,))) is None


def test_growth_is_the_slope_of_a_line() -> None:
    assert slope([0, 100, 200], [10.0, 11.0, 12.0]) == pytest.approx(0.01)
