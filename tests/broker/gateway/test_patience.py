"""A store that is away for a moment is waited for; one that says no, or stays away, is not."""

import asyncio

import pytest

from service.broker.errors import StoreFull, StoreRefused, StoreUnavailable
from service.broker.gateway.patience import bridged

LONG_S = 60.0


class Store:
    """Fails so often with that error, then answers."""

    def __init__(self, failures: int, error: StoreUnavailable) -> None:
        self._failures, self._error = failures, error
        self.tries = self.between = 0

    async def work(self) -> str:
        self.tries += 1
        if self.tries <= self._failures:
            raise self._error
        return "answered"

    async def before_next(self) -> None:
        self.between += 1


def away() -> StoreUnavailable:
    return StoreUnavailable("away", passing=True)


async def test_work_is_begun_anew_until_the_store_answers() -> None:
    store = Store(3, away())
    assert await bridged(store.work, LONG_S, store.before_next) == "answered"
    assert (store.tries, store.between) == (4, 3)


@pytest.mark.parametrize("error", [StoreUnavailable("misconf"), StoreFull("full"), StoreRefused("password")])
async def test_a_store_that_says_no_is_not_asked_again(error: StoreUnavailable) -> None:
    store = Store(1, error)
    with pytest.raises(StoreUnavailable):
        await bridged(store.work, LONG_S)
    assert store.tries == 1


async def test_a_store_that_stays_away_is_the_callers_error_after_the_time() -> None:
    store = Store(10**6, away())
    with pytest.raises(StoreUnavailable):
        await bridged(store.work, 0.3)
    assert store.tries > 1


async def test_the_time_counts_from_the_first_failure_and_not_from_the_works_beginning() -> None:
    """Media may take long to decode before the store is asked at all."""
    store = Store(1, away())

    async def slow() -> str:
        await asyncio.sleep(0.3 if store.tries == 0 else 0)
        return await store.work()

    assert await bridged(slow, 0.2) == "answered"


async def test_what_has_to_come_before_the_next_try_is_waited_for_no_longer_than_the_time() -> None:
    store = Store(10**6, away())

    async def never() -> None:
        await asyncio.Event().wait()

    with pytest.raises(StoreUnavailable):
        await bridged(store.work, 0.2, never)
    assert store.tries == 1


async def test_without_patience_the_first_failure_is_the_callers() -> None:
    store = Store(1, away())
    with pytest.raises(StoreUnavailable):
        await bridged(store.work, 0.0)
    assert store.tries == 1
