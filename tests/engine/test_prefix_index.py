"""The tree of kept blocks."""

import random

from pandagpt_core.engine.prefix_cache import PrefixIndex

ROOT = b""


def kept(index: PrefixIndex, ids: list[int], root: bytes = ROOT) -> int:
    return len(index.find(root, ids))


def test_only_whole_blocks_are_kept_and_found() -> None:
    index = PrefixIndex(8, 4)
    known, new = index.add(ROOT, [1, 2, 3, 4, 5, 6, 7, 8, 9])
    assert (known, len(new), len({block.place for block in new})) == (0, 2, 2)
    assert kept(index, [1, 2, 3, 4, 5, 6, 7, 8]) == 2
    assert kept(index, [1, 2, 3, 4, 5, 6, 7]) == 1
    assert kept(index, [1, 2, 3, 0, 5, 6, 7, 8]) == 0


def test_a_block_is_found_only_under_the_blocks_before_it_and_its_root() -> None:
    index = PrefixIndex(8, 2)
    index.add(ROOT, [1, 2, 3, 4])
    assert kept(index, [3, 4]) == 0
    assert kept(index, [9, 9, 3, 4]) == 0
    assert kept(index, [1, 2, 3, 4], root=b"bias") == 0


def test_what_is_known_is_kept_once() -> None:
    index = PrefixIndex(8, 2)
    _, first = index.add(ROOT, [1, 2, 3, 4])
    known, new = index.add(ROOT, [1, 2, 3, 4, 5, 6])
    assert (known, len(new), len(index)) == (2, 1, 3)
    assert new[0].place not in {block.place for block in first}


def test_the_least_recently_used_goes_first_and_a_leaf_before_its_parent() -> None:
    index = PrefixIndex(4, 2)
    index.add(ROOT, [1, 2, 3, 4])
    index.add(ROOT, [5, 6, 7, 8])
    index.find(ROOT, [1, 2, 3, 4])
    index.add(ROOT, [9, 9])
    assert (kept(index, [5, 6, 7, 8]), kept(index, [1, 2, 3, 4]), kept(index, [9, 9])) == (1, 2, 1)
    assert index.evicted == 1


def test_held_blocks_stay_and_a_chain_is_not_evicted_to_lengthen_itself() -> None:
    index = PrefixIndex(3, 1)
    index.add(ROOT, [1])
    held = index.find(ROOT, [1])
    index.hold(held)
    known, new = index.add(ROOT, [2, 3, 4, 5])
    assert (known, len(new)) == (0, 2)
    assert (kept(index, [1]), kept(index, [2, 3])) == (1, 2)
    index.drop(held)
    assert len(index.add(ROOT, [2, 3, 4, 5])[1]) == 1
    assert kept(index, [1]) == 0


def test_without_places_nothing_is_kept() -> None:
    index = PrefixIndex(0, 2)
    assert index.add(ROOT, [1, 2]) == (0, [])
    assert kept(index, [1, 2]) == 0


def test_whatever_happens_places_are_distinct_and_chains_whole() -> None:
    rng, index = random.Random(1), PrefixIndex(7, 2)
    written: dict[int, tuple[int, ...]] = {}  # what the caller copied to each place
    for _ in range(3000):
        ids = [rng.randrange(2) for _ in range(rng.randrange(9))]
        known, new = index.add(ROOT, ids)
        for n, block in enumerate(new, known):
            written[block.place] = tuple(ids[: 2 * n + 2])
        found = index.find(ROOT, ids)
        assert len(found) >= known
        assert all(written[block.place] == tuple(ids[: 2 * n + 2]) for n, block in enumerate(found))
        assert len(index) <= 7
