"""Halving, on plain stand-ins: the quarantine looks at a job's identity only."""

import itertools

import pytest

from service.worker.generation.quarantine import Quarantine


def isolate(jobs: list[str], harmful: set[str]) -> tuple[list[str], int]:
    """Run to its end an engine that raises for a harmful job in it. Returns the failed jobs and the count of raises."""
    quarantine, failed, raises = Quarantine(), [], 0
    running = list(jobs)
    while running or quarantine.waiting:
        running += quarantine.release(engine_is_empty=not running)  # type: ignore[arg-type]

        quarantine.acquit()
        if harmful & set(running):
            raises += 1
            guilty = quarantine.blame(running)  # type: ignore[arg-type]
            if guilty is not None:
                failed.append(guilty)
        running = []  # the others ran to their ends
    return failed, raises  # type: ignore[return-value]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 32])
def test_one_that_harms_is_found_among_any_number(size: int) -> None:
    jobs = [f"j{number}" for number in range(size)]
    for job in jobs:
        failed, raises = isolate(jobs, {job})
        assert failed == [job]
        assert raises <= 1 + (size - 1).bit_length()


def test_several_that_harm_are_all_found_and_nobody_else() -> None:
    jobs = list("abcdef")
    for harmful in itertools.combinations(jobs, 3):
        assert sorted(isolate(jobs, set(harmful))[0]) == sorted(harmful)


def test_newcomers_wait_until_the_last_group_is_in() -> None:
    quarantine = Quarantine()
    assert quarantine.blame(["a", "b"]) is None  # type: ignore[list-item]
    quarantine.defer("new")  # type: ignore[arg-type]
    assert quarantine.closed
    assert quarantine.release(engine_is_empty=False) == []
    assert quarantine.release(engine_is_empty=True) == ["a"]
    assert quarantine.release(engine_is_empty=True) == ["b"]
    assert not quarantine.closed
    assert quarantine.release(engine_is_empty=False) == ["new"]
    assert quarantine.waiting == ()


def test_a_job_that_is_dropped_does_not_come_back() -> None:
    quarantine = Quarantine()
    quarantine.blame(["a", "b"])  # type: ignore[list-item]
    quarantine.defer("c")  # type: ignore[arg-type]
    for job in ("a", "c", "stranger"):
        quarantine.drop(job)  # type: ignore[arg-type]
    assert quarantine.waiting == ("b",)
    assert quarantine.release(engine_is_empty=True) == ["b"]


def test_two_in_a_row_that_raise_alone_mean_a_broken_engine() -> None:
    quarantine = Quarantine()
    assert quarantine.blame(["a"]) == "a"  # type: ignore[list-item]
    assert not quarantine.engine_is_broken
    quarantine.acquit()
    quarantine.blame(["b"])  # type: ignore[list-item]
    assert not quarantine.engine_is_broken
    quarantine.blame(["c"])  # type: ignore[list-item]
    assert quarantine.engine_is_broken
