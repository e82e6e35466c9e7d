"""Sets of functions of tensors, compiled to one kernel each where a device gains by it (torch.compile, by Triton).

On a CUDA device a launch costs more than most of what stands between matrix products. The compiler needs Triton and a
C compiler; where they are absent, or give other values than torch's own kernels, the functions stay as they are.

A replay of a recorded graph has the kernels alone. A call from Python goes through the compiler's checks first, which
cost more than the launches they save (0.2 ms a call of an H200's 35 ms for a prompt), and a new shape may be compiled
for a second. So compiled functions serve within `recorded` alone.
"""

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from typing import Any, TypeVar

import torch
from torch import Tensor

log = logging.getLogger(__name__)

TOLERANCE = 0.02  # of values about 1; one unit in bfloat16's last place is 0.008
ROWS = (1, 3)  # of a probe: the compiler makes one kernel for a single row and one for more

F = TypeVar("F")
Probe = Callable[[F, int], Iterable[Tensor]]
"""The results of every function of a set, for a number of rows; the same inputs at every call."""

_RECORDING = ContextVar("recording", default=False)


@contextmanager
def recorded() -> Iterator[None]:
    """Marks computing that is recorded once and replayed often."""
    token = _RECORDING.set(True)
    try:
        yield
    finally:
        _RECORDING.reset(token)


def fitting(eager: F, probe: Probe[F], device: torch.device, compiler: Callable[[F], F] | None = None) -> F:
    """On a CUDA device, where the compiled set computes what `eager` does: that one within `recorded`, and `eager`
    elsewhere. Else `eager` itself.

    compiler: compiles a set (`compiled`). The error for a missing part differs by version, so any error is a no.
    """
    if device.type != "cuda":
        return eager
    made = (compiler or compiled)(eager)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's, of torch's own code
            fits = agrees(made, eager, probe)
    except Exception as error:  # noqa: BLE001  whatever the compiler raises is why it does not compile
        log.warning("torch.compile fails here; more kernels are launched", extra={"reason": repr(error)})
        return eager
    if not fits:
        log.warning("compiled functions give other values than torch's own; they are not used")
    return switched(made, eager) if fits else eager


def switched(made: F, eager: F) -> F:
    """A set whose functions are `made`'s within `recorded`, and `eager`'s elsewhere."""

    def either(name: str) -> Callable[..., Any]:
        one, other = getattr(made, name), getattr(eager, name)
        return lambda *given: (one if _RECORDING.get() else other)(*given)

    return _each(eager, either)


def compiled(eager: F, backend: str = "inductor") -> F:
    """A dataclass of functions, for any number of rows. Nothing is compiled before the first call.

    backend: torch.compile's. Its own makes kernels by Triton on a device; by C++ on a CPU, which is not for service.
    """
    return _each(eager, lambda name: torch.compile(getattr(eager, name), backend=backend, dynamic=True, fullgraph=True))


@torch.inference_mode()
def agrees(made: F, eager: F, probe: Probe[F]) -> bool:
    """Whether both compute the same, for one row and for more; compiles for both."""
    return all(
        torch.allclose(one.float(), other.float(), atol=TOLERANCE, rtol=TOLERANCE)
        for rows in ROWS
        for one, other in zip(probe(made, rows), probe(eager, rows), strict=True)
    )


def _each(of: F, make: Callable[[str], Callable[..., Any]]) -> F:
    """A set of the same kind, each function made by its name."""
    return type(of)(*(make(field.name) for field in fields(of)))  # type: ignore[arg-type]  # F is always a dataclass
