"""Whether torch makes a graph of what runs now."""

import torch


def tracing() -> bool:
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined,no-untyped-call]
