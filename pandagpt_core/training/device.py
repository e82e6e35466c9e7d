"""The device of the small default's recipe. On every device the draws are the CPU's, but for those of dropout.

A stage moves its modules and batches to the device and its results back, so all stored results lie on the CPU.
"""

from contextlib import AbstractContextManager, nullcontext

import torch

CPU = torch.device("cpu")


def pick(name: str) -> torch.device:
    """The device of that name; auto is a GPU where there is one. Raises ValueError for one that is not here."""
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):  # the second from a build of torch that lacks the whole kind
        raise ValueError(f"torch finds no device {name} on this machine") from None
    return device


def narrow(device: torch.device) -> torch.dtype:
    """Type of the products: bfloat16 on a CPU, and on a GPU that has it; else float32."""
    has = device.type == "cpu" or (device.type == "cuda" and torch.cuda.is_bf16_supported())
    return torch.bfloat16 if has else torch.float32


def mixed(device: torch.device, *, wanted: bool = True) -> AbstractContextManager[object]:
    """Products inside are computed in `narrow(device)`, if that is wanted; the weights stay as they are."""
    if not wanted or narrow(device) == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
