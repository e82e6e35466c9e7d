"""Measured peaks of the hardware: memory read, matrix products. Best of several tries."""

import time
from collections.abc import Callable, Iterator

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def read_bandwidth(size: int, device: str = "cpu", seconds: float = 1.0) -> float:
    """Bytes a second when an array of `size` bytes is read once from end to end; the fastest of two kernels.

    An array that fits the caches is read from them: choose the size of what is to be compared.
    """
    array = torch.ones(max(size // 4, 1), dtype=torch.float32, device=device)
    kernels: tuple[Callable[[], object], ...] = (array.sum, lambda: array.dot(array))
    return array.nbytes / min(fastest(kernel, device, seconds / len(kernels)) for kernel in kernels)


def matrix_peak(kind: str, size: int, device: str = "cpu", seconds: float = 1.0) -> float:
    """Operations a second (a multiplication and an addition are two) of a product of two square matrices."""
    return 2 * size**3 / min(fastest(product, device, seconds) for product in _products(kind, size, device))


def fastest(work: Callable[[], object], device: str, seconds: float, least: int = 3) -> float:
    """Seconds of the fastest try, after one that does not count."""
    work()
    best, end, tries = float("inf"), time.perf_counter() + seconds, 0
    while tries < least or time.perf_counter() < end:
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        best, tries = min(best, time.perf_counter() - start), tries + 1
    return best


def synchronize(device: str) -> None:
    """Wait for a GPU's queue; a CPU has none."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _products(kind: str, size: int, device: str) -> Iterator[Callable[[], object]]:
    if kind != "int8":
        a, b = (torch.randn(size, size, device=device).to(DTYPES[kind]) for _ in range(2))
        yield lambda: a @ b
        return
    # Both of torch's int8 products: the bare one, and on a CPU the one that our engine uses.
    whole = [torch.randint(-127, 128, (size, size), dtype=torch.int8, device=device) for _ in range(2)]
    yield lambda: torch._int_mm(*whole)
    if device == "cpu":
        from pandagpt_core.llm.quant.int8 import Int8Linear

        linear, rows = Int8Linear(torch.randn(size, size)), torch.randn(size, size)
        yield lambda: linear(rows)
