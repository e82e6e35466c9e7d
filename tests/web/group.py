"""The parts that all files of this folder share: opened at the first use, closed with the folder's last test."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any


class Group:
    """Things by name, each made once."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._made: dict[str, Any] = {}

    def once(self, name: str, make: Callable[[], AbstractContextManager[Any]]) -> Any:
        if name not in self._made:
            self._made[name] = self._stack.enter_context(make())
        return self._made[name]

    def close(self) -> None:
        """The next `once` makes things anew."""
        self._made.clear()
        self._stack.close()
