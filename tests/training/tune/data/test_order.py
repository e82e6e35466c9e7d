"""The conversations of a step: every one as often as the number of epochs, or by stated ratios."""

from collections import Counter

import pytest

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.training.lora import CosineWarmupDecay, LinearWarmupDecay
from pandagpt_core.training.tune.data.order import PERIOD, MixedOrder

SMALL, LARGE, WEAK = tuple(range(3)), tuple(range(3, 503)), tuple(range(503, 2503))


def mixed(*ratios: float, batch: int = 10) -> MixedOrder:
    return MixedOrder((SMALL, LARGE, WEAK), ratios, batch, seed=1)


def drawn(order: MixedOrder, steps: int) -> list[int]:
    return [index for step in range(steps) for index in order.of_step(step)]


def test_a_period_has_the_stated_shares_exactly() -> None:
    indices = drawn(mixed(1, 2, 5), 3 * PERIOD // 10)
    for start in range(0, len(indices), PERIOD):
        part = indices[start : start + PERIOD]
        counts = [sum(index in members for index in part) for members in (set(SMALL), set(LARGE), set(WEAK))]
        assert counts == [125, 250, 625]


def test_within_a_set_nothing_comes_twice_before_all_came_once() -> None:
    indices = drawn(mixed(1, 2, 5), 8 * PERIOD // 10)
    of_large = [index for index in indices if index in set(LARGE)]
    assert sorted(of_large[: len(LARGE)]) == list(LARGE)
    assert len(set(Counter(index for index in indices if index in SMALL).values())) <= 2


def test_a_set_without_a_share_is_left_out() -> None:
    assert not set(drawn(mixed(1, 2, 0), 50)) & set(WEAK)


def test_a_step_is_a_function_of_seed_and_number() -> None:
    assert mixed(1, 1, 1).of_step(77) == mixed(1, 1, 1).of_step(77)
    other = MixedOrder((SMALL, LARGE, WEAK), (1, 1, 1), 10, seed=2)
    assert mixed(1, 1, 1).of_step(77) != other.of_step(77)


def test_shares_that_do_not_divide_still_make_a_whole_period() -> None:
    assert len(drawn(mixed(1, 1, 1), PERIOD // 10)) == PERIOD


def test_an_empty_set_with_a_share_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"data\.ratios gives file 1 a share of 2"):
        MixedOrder((SMALL, (), WEAK), (1, 2, 0), 10, seed=0)


def test_a_cosine_rises_then_falls_to_its_floor() -> None:
    rate = CosineWarmupDecay(steps=100, warmup=0.1, floor=0.2)
    assert rate(0) == pytest.approx(0.1)
    assert rate(9) == rate(10) == pytest.approx(1.0)
    assert rate(55) == pytest.approx(0.6)
    assert rate(100) == pytest.approx(0.2)
    assert LinearWarmupDecay(100, 0.1, 0.2)(55) == pytest.approx(0.6)
