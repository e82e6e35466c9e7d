"""A worker's memory goes into huge pages beside its work."""

import threading
from collections.abc import Iterator

from service.worker import huge_pages


def test_the_thread_looks_again_and_again_until_the_worker_ends() -> None:
    looked = threading.Semaphore(0)

    def collapsing() -> Iterator[int]:
        looked.release()
        yield from (1, 1)

    with huge_pages.kept(collapsing, every=0.001):
        for _ in range(3):
            assert looked.acquire(timeout=60)
    assert not any(thread.name == "huge pages" for thread in threading.enumerate())


def test_a_worker_that_ends_does_not_wait_for_all_of_its_memory() -> None:
    begun = threading.Event()

    def endless() -> Iterator[int]:
        while True:
            begun.set()
            yield 1

    with huge_pages.kept(endless, every=0.001):
        assert begun.wait(60)
    assert not any(thread.name == "huge pages" for thread in threading.enumerate())
