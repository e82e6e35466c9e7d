"""The tree of cached blocks."""

import random

from pandagpt_core.engine.prefix_cache import PrefixCache
from pandagpt_core.engine.sequence import CacheSalt

SALT = CacheSalt()


def kept(cache: PrefixCache, ids: list[int], salt: CacheSalt = SALT) -> int:
    return len(cache.find(salt, ids))


def test_only_whole_blocks_are_cached_and_found() -> None:
    cache = PrefixCache(8, 4)
    known, new = cache.insert(SALT, [1, 2, 3, 4, 5, 6, 7, 8, 9])
    assert (known, len(new), len({block.index for block in new})) == (0, 2, 2)
    assert kept(cache, [1, 2, 3, 4, 5, 6, 7, 8]) == 2
    assert kept(cache, [1, 2, 3, 4, 5, 6, 7]) == 1
    assert kept(cache, [1, 2, 3, 0, 5, 6, 7, 8]) == 0


def test_a_block_is_found_only_under_the_blocks_before_it_and_its_salt() -> None:
    cache = PrefixCache(8, 2)
    cache.insert(SALT, [1, 2, 3, 4])
    assert kept(cache, [3, 4]) == 0
    assert kept(cache, [9, 9, 3, 4]) == 0
    assert kept(cache, [1, 2, 3, 4], salt=CacheSalt(b"bias")) == 0


def test_an_equal_prefix_is_cached_once() -> None:
    cache = PrefixCache(8, 2)
    _, first = cache.insert(SALT, [1, 2, 3, 4])
    known, new = cache.insert(SALT, [1, 2, 3, 4, 5, 6])
    assert (known, len(new), len(cache)) == (2, 1, 3)
    assert new[0].index not in {block.index for block in first}


def test_the_least_recently_used_is_evicted_first_and_a_leaf_before_its_parent() -> None:
    cache = PrefixCache(4, 2)
    cache.insert(SALT, [1, 2, 3, 4])
    cache.insert(SALT, [5, 6, 7, 8])
    cache.find(SALT, [1, 2, 3, 4])
    cache.insert(SALT, [9, 9])
    assert (kept(cache, [5, 6, 7, 8]), kept(cache, [1, 2, 3, 4]), kept(cache, [9, 9])) == (1, 2, 1)
    assert cache.evictions == 1


def test_referenced_blocks_stay_and_a_chain_is_not_evicted_to_lengthen_itself() -> None:
    cache = PrefixCache(3, 1)
    cache.insert(SALT, [1])
    held = cache.find(SALT, [1])
    cache.acquire(held)
    known, new = cache.insert(SALT, [2, 3, 4, 5])
    assert (known, len(new)) == (0, 2)
    assert (kept(cache, [1]), kept(cache, [2, 3])) == (1, 2)
    cache.release(held)
    assert len(cache.insert(SALT, [2, 3, 4, 5])[1]) == 1
    assert kept(cache, [1]) == 0


def test_without_blocks_nothing_is_cached() -> None:
    cache = PrefixCache(0, 2)
    assert cache.insert(SALT, [1, 2]) == (0, [])
    assert kept(cache, [1, 2]) == 0


def test_blocks_are_distinct_and_chains_whole_after_any_inserts() -> None:
    rng, cache = random.Random(1), PrefixCache(7, 2)
    written: dict[int, tuple[int, ...]] = {}  # the caller's copy to each block
    for _ in range(3000):
        ids = [rng.randrange(2) for _ in range(rng.randrange(9))]
        known, new = cache.insert(SALT, ids)
        for n, block in enumerate(new, known):
            written[block.index] = tuple(ids[: 2 * n + 2])
        found = cache.find(SALT, ids)
        assert len(found) >= known
        assert all(written[block.index] == tuple(ids[: 2 * n + 2]) for n, block in enumerate(found))
        assert len(cache) <= 7


def test_tenants_share_the_template_and_nothing_after_it() -> None:
    cache = PrefixCache(16, 2)
    alice, bob = (CacheSalt(tenant=name, num_public=5) for name in ("alice", "bob"))
    cache.insert(alice, [1, 2, 3, 4, 5, 6, 7, 8])
    assert kept(cache, [1, 2, 3, 4, 5, 6, 7, 8], alice) == 4
    assert kept(cache, [1, 2, 3, 4, 5, 6, 7, 8], bob) == 2  # the third block holds one id that is not the template's
    known, new = cache.insert(bob, [1, 2, 3, 4, 5, 6, 7, 8])
    assert (known, len(new)) == (2, 2)
    assert kept(cache, [1, 2, 3, 4, 5, 6, 7, 8], bob) == 4


def test_without_a_template_tenants_share_nothing() -> None:
    cache = PrefixCache(16, 2)
    cache.insert(CacheSalt(tenant="alice"), [1, 2, 3, 4])
    assert kept(cache, [1, 2, 3, 4], CacheSalt(tenant="bob")) == 0
    assert kept(cache, [1, 2, 3, 4]) == 0
