"""Which prefixes have their keys and values kept, by content: a tree of blocks, the least recently used goes first.

A block is named by its parent and its own ids, so equal names mean equal positions from the first on. Nothing is
hashed: ids are compared, and a sequence's layer bias is the name of its root, since it changes every key and value.
Content alone decides, whoever sent it: callers who must not learn from an answer's speed whether another caller sent
the same prefix need engines of their own.
"""

from collections import OrderedDict
from collections.abc import Sequence as Items
from dataclasses import dataclass

Name = tuple[object, tuple[int, ...]]  # the parent (a Block or a root's name) and the block's own ids


@dataclass(eq=False, slots=True)
class Block:
    """`place` is where its keys and values lie in the store; `holders` are promises that it will not be evicted."""

    place: int
    holders: int = 0


class PrefixIndex:
    """Bookkeeping only; the keys and values are the runner's."""

    def __init__(self, places: int, block_size: int) -> None:
        self._free = list(range(places))
        self._size = block_size
        self._blocks: OrderedDict[Name, Block] = OrderedDict()  # the least recently used first
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._blocks)

    def find(self, root: object, ids: Items[int]) -> list[Block]:
        """The longest chain of kept blocks that `ids` begin with, now the most recently used."""
        return [self._blocks[name] for name in self._chain(root, ids)]

    def add(self, root: object, ids: Items[int]) -> tuple[int, list[Block]]:
        """Keep the whole blocks of `ids`: how many were there already, and the new ones, for the caller to fill.

        Fewer are new than asked where everything else is in use or promised.
        """
        names = self._chain(root, ids)
        chain = [self._blocks[name] for name in names]
        self.hold(chain)  # what is being lengthened is not evicted for its own sake
        for start in range(len(names) * self._size, len(ids) - self._size + 1, self._size):
            place = self._place()
            if place is None:
                break
            block = Block(place, holders=1)
            self._blocks[chain[-1] if chain else root, tuple(ids[start : start + self._size])] = block
            chain.append(block)
        self.drop(chain)
        self._chain(root, ids)
        return len(names), chain[len(names) :]

    def hold(self, blocks: Items[Block]) -> None:
        for block in blocks:
            block.holders += 1

    def drop(self, blocks: Items[Block]) -> None:
        for block in blocks:
            block.holders -= 1

    def _chain(self, root: object, ids: Items[int]) -> list[Name]:
        """Names from the root on. Parents are touched after their children, so the oldest block is always a leaf."""
        names: list[Name] = []
        parent = root
        for start in range(0, len(ids) - self._size + 1, self._size):
            name = (parent, tuple(ids[start : start + self._size]))
            if name not in self._blocks:
                break
            names.append(name)
            parent = self._blocks[name]
        for name in reversed(names):
            self._blocks.move_to_end(name)
        return names

    def _place(self) -> int | None:
        """A free place, or that of the least recently used block that nobody holds."""
        if self._free:
            return self._free.pop()
        name = next((name for name, block in self._blocks.items() if not block.holders), None)
        if name is None:
            return None
        self.evicted += 1
        return self._blocks.pop(name).place
