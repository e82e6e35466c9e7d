"""Prefixes whose keys and values are kept, found by content: a tree of blocks, least recently used evicted first.

The key of a block is its parent and its own ids, so equal keys mean equal positions from the first on. Nothing is
hashed: ids are compared. Where a sequence's chain begins is its cache salt: the digest of its layer bias, which changes
every key and value, and from the first block on that holds more than the template's own words, its tenant. So no
tenant learns from an answer's latency or `cached_tokens` what another sent.
"""

from collections import OrderedDict
from collections.abc import Sequence as Items
from dataclasses import dataclass

from pandagpt_core.engine.sequence import CacheSalt

BlockKey = tuple[object, tuple[int, ...]]  # the prefix before the block, and the block's own ids


@dataclass(eq=False, slots=True)
class PrefixBlock:
    """`index` is its block in the runner's store. A block with references is not evicted."""

    index: int
    ref_count: int = 0


class PrefixCache:
    """Bookkeeping only; the runner holds the keys and values."""

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self._free = list(range(num_blocks))
        self._size = block_size
        self._blocks: OrderedDict[BlockKey, PrefixBlock] = OrderedDict()  # least recently used first
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._blocks)

    def find(self, salt: CacheSalt, ids: Items[int]) -> list[PrefixBlock]:
        """The longest chain of cached blocks that `ids` begin with; it is now the most recently used."""
        return [self._blocks[key] for key in self._chain(salt, ids)]

    def insert(self, salt: CacheSalt, ids: Items[int]) -> tuple[int, list[PrefixBlock]]:
        """Cache the whole blocks of `ids`. Returns how many were cached before, and the new blocks, to be filled.

        There are fewer new blocks where all others have references.
        """
        keys = self._chain(salt, ids)
        chain = [self._blocks[key] for key in keys]
        self.acquire(chain)  # a chain is not evicted in order to lengthen it
        for start in range(len(keys) * self._size, len(ids) - self._size + 1, self._size):
            index = self._free_index()
            if index is None:
                break
            block = PrefixBlock(index, ref_count=1)
            self._blocks[self._key(salt, chain[-1] if chain else None, start, ids)] = block
            chain.append(block)
        self.release(chain)
        self._chain(salt, ids)
        return len(keys), chain[len(keys) :]

    def acquire(self, blocks: Items[PrefixBlock]) -> None:
        for block in blocks:
            block.ref_count += 1

    def release(self, blocks: Items[PrefixBlock]) -> None:
        for block in blocks:
            block.ref_count -= 1

    def _key(self, salt: CacheSalt, parent: PrefixBlock | None, start: int, ids: Items[int]) -> BlockKey:
        before: object = salt.content if parent is None else parent
        if salt.tenant and start == salt.num_public // self._size * self._size:  # the first block that is not public
            before = (before, salt.tenant)
        return before, tuple(ids[start : start + self._size])

    def _chain(self, salt: CacheSalt, ids: Items[int]) -> list[BlockKey]:
        """Keys from the root on. Parents are touched after their children, so the oldest block is always a leaf."""
        keys: list[BlockKey] = []
        parent: PrefixBlock | None = None
        for start in range(0, len(ids) - self._size + 1, self._size):
            key = self._key(salt, parent, start, ids)
            if key not in self._blocks:
                break
            keys.append(key)
            parent = self._blocks[key]
        for key in reversed(keys):
            self._blocks.move_to_end(key)
        return keys

    def _free_index(self) -> int | None:
        """A free block, or that of the least recently used one without references."""
        if self._free:
            return self._free.pop()
        key = next((key for key, block in self._blocks.items() if not block.ref_count), None)
        if key is None:
            return None
        self.evictions += 1
        return self._blocks.pop(key).index
