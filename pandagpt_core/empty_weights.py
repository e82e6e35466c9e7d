"""Modules without weights, into which a checkpoint's are put."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

INIT = "torch.nn.init"
IN_PLACE = frozenset({Tensor.normal_, Tensor.uniform_})


class _WithoutInit(TorchFunctionMode):
    """Skips the functions that fill a module's weights.

    On the meta device torch fills them in Python, and loads its compiler and SymPy for that: 70 MB that stay.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if getattr(func, "__module__", None) == INIT or func in IN_PLACE:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


@contextmanager
def init_empty_weights() -> Iterator[None]:
    """Modules made inside have shapes and no numbers: their parameters are on the meta device."""
    with torch.device("meta"), _WithoutInit():
        yield
