"""A store that is away for a moment is waited for; one that says no, or stays away, is not."""

import asyncio

import pytest

from service.broker.errors import BrokerError, NoWorker, StoreFull, StoreRefused, StoreUnavailable, WorkersSilent
from service.broker.gateway.patience import bridged

LONG_S = 60.0


class Store:
    """Fails so often with that error, then answers."""

    def __init__(self, failures: int, error: BrokerError) -> None:
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


async def test_the_time_counts_from_the_first_failure_and_not_from_the_beginning() -> None:
    """Media may take long to decode before the store is asked at all."""
    store = Store(1, away())

    async def slow() -> str:
        await asyncio.sleep(0.3 if store.tries == 0 else 0)
        return await store.work()

    assert await bridged(slow, 0.2) == "answered"


async def test_what_precedes_the_next_try_is_waited_for_no_longer_than_the_time() -> None:
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


async def test_workers_that_fell_silent_are_waited_for_and_none_at_all_is_not() -> None:
    """The store's clock goes on while the store stands still, and so do its workers' signs of life grow old."""
    silent, none = Store(3, WorkersSilent("silent")), Store(1, NoWorker("none"))
    assert await bridged(silent.work, LONG_S) == "answered"
    with pytest.raises(NoWorker):
        await bridged(none.work, LONG_S)
    assert none.tries == 1


async def test_a_store_that_forgot_its_workers_while_away_has_time_to_find_them() -> None:
    store, forgot = Store(2, away()), Store(2, NoWorker("none"))

    async def work() -> str:
        return await store.work() and await forgot.work()

    assert await bridged(work, LONG_S) == "answered"


async def test_workers_have_the_whole_time_after_the_store_took_nearly_all_of_it() -> None:
    store, workers = Store(4, away()), Store(4, WorkersSilent("silent"))

    async def work() -> str:
        return await store.work() and await workers.work()

    assert await bridged(work, 0.75) == "answered"


async def test_workers_that_stay_silent_are_no_worker() -> None:
    workers = Store(10**6, WorkersSilent("silent"))
    with pytest.raises(NoWorker):
        await bridged(workers.work, 0.3)
    assert workers.tries > 1
