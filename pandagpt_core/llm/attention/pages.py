"""Memory of a cache on a CPU: pages that take none before they are written, and none after their sequence has ended."""

import contextlib
import ctypes
import functools
import math
import mmap
import sys
from collections.abc import Callable
from types import MappingProxyType

import torch
from torch import Tensor

# Private: shared memory is counted and limited apart. Windows has no such flags and needs none.
ANONYMOUS = MappingProxyType({"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {})


def zeros(sizes: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros; on a CPU from the system's zero pages, which take no memory before they are written."""
    if device.type != "cpu" or 0 in sizes:
        return torch.zeros(sizes, dtype=dtype, device=device)
    # numpy's zeros are large pages (2 MiB): a token in each of L layers and its heads would take one of them each.
    memory = mmap.mmap(-1, math.prod(sizes) * dtype.itemsize, **ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.uint8).view(dtype).view(sizes)


def give_back(part: Tensor) -> None:
    """The whole pages of a contiguous part of what `zeros` made leave the memory and are zeros again.

    Numbers beside the whole pages stay. Nothing happens on a device, or where the system has no such call: Linux alone
    promises zeros afterwards.
    """
    if part.device.type != "cpu" or sys.platform != "linux":
        return
    assert part.is_contiguous()
    begin = -(-part.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (part.data_ptr() + part.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if end > begin:
        _madvise()(begin, end - begin, mmap.MADV_DONTNEED)


@functools.cache  # one release gives back a part of each layer
def _madvise() -> Callable[[int, int, int], int]:
    """The C library's: Python's own is a method of a mapping, and tensors do not show theirs."""
    call = ctypes.CDLL(None).madvise
    call.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return call
