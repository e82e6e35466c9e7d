"""The device of the small default's recipe. On every device the draws are the CPU's, but for those of dropout.

A stage moves its modules and batches to the device and its results back, so all stored results lie on the CPU.
"""

import functools
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

CPU = torch.device("cpu")
ROUNDS = 3  # of the timed product; the first makes its kernel
SLOWEST = 3.0  # times a float32 product; a processor without instructions for bfloat16 takes six times as long


def pick(name: str) -> torch.device:
    """The device of that name; auto is a GPU where there is one. Raises ValueError for one that is not here."""
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):  # the second from a build of torch that lacks the whole kind
        raise ValueError(f"torch finds no device {name} on this machine") from None
    return device


@functools.cache
def product_seconds(dtype: torch.dtype) -> float:
    """Of a product on the CPU and its gradients, the best of `ROUNDS`."""

    def once() -> float:
        rows, weights = (torch.ones(count, 576, dtype=dtype, requires_grad=True) for count in (64, 1536))
        begun = time.perf_counter()
        torch.autograd.backward(torch.nn.functional.linear(rows, weights).sum())
        return time.perf_counter() - begun

    with torch.inference_mode(False), torch.enable_grad():  # the caller may compute without gradients
        return min(once() for _ in range(ROUNDS))


def narrow(device: torch.device, seconds: Callable[[torch.dtype], float] = product_seconds) -> torch.dtype:
    """Type of the products: bfloat16 on a GPU that has it, and on a CPU where it is not far slower; else float32.

    seconds: of a product on the CPU in a type.
    """
    if device.type == "cpu":
        has = seconds(torch.bfloat16) <= SLOWEST * seconds(torch.float32)
    else:
        has = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if has else torch.float32


def mixed(device: torch.device, *, wanted: bool = True) -> AbstractContextManager[object]:
    """Products inside are computed in `narrow(device)`, if that is wanted; the weights stay as they are."""
    if not wanted or narrow(device) == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
