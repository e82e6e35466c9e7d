"""Reading weights: safetensors straight to a device and dtype, into modules that were built on the meta device."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from pandagpt_core.checkpoints.account import Shape, account
from pandagpt_core.checkpoints.writer import DTYPES
from pandagpt_core.errors import CheckpointError


def read_shapes(path: Path) -> dict[str, Shape]:
    """Key -> shape of a safetensors file, from its header alone."""
    return {key: tuple(tensor.shape) for key, tensor in read_layout(path).items()}


def read_layout(path: Path) -> dict[str, torch.Tensor]:
    """Key -> meta tensor of the shape and type that a safetensors file holds, from its header alone."""
    with _opened(path, "cpu") as file:
        slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
        return {
            key: torch.empty(found.get_shape(), dtype=DTYPES[found.get_dtype()], device="meta")
            for key, found in slices.items()
        }


def read_tensors(
    path: Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    unused: Callable[[str], bool] = lambda _: False,
) -> Iterator[tuple[str, torch.Tensor]]:
    """Each key but the unused with its tensor, one at a time. The file is mapped; `dtype` None keeps the file's own.

    Scalars (logit scales) stay float32 whatever the dtype: half precision would move them by a thousandth.
    """
    with _opened(path, device) as file:
        for key in file.keys():  # noqa: SIM118 - not a mapping
            if not unused(key):
                yield key, cast(file.get_tensor(key), dtype)


def cast(tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    """The tensor in `dtype` if it is of a floating type; scalars in float32."""
    if dtype is None or not tensor.is_floating_point():
        return tensor
    return tensor.to(torch.float32 if tensor.ndim == 0 else dtype)


def module_shapes(module: nn.Module) -> dict[str, Shape]:
    """Key -> shape of a module's state dict; the module may lie on the meta device."""
    return {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}


def load_module(
    module: nn.Module,
    path: Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    unused: Callable[[str], bool] = lambda _: False,
) -> None:
    """Give a module (best built on the meta device) the weights of a safetensors file, after a strict account.

    `unused` marks keys of parts that were deliberately not built; every other difference raises KeyMismatch.
    Tensors are put in place of the module's own, so that nothing is held twice.
    """
    found = {key: shape for key, shape in read_shapes(path).items() if not unused(key)}
    account(path.name, module_shapes(module), found)
    tensors = dict(read_tensors(path, device=device, dtype=dtype, unused=unused))
    module.load_state_dict(tensors, strict=True, assign=True)
    module.requires_grad_(False)


def _opened(path: Path, device: str | torch.device) -> safe_open:
    try:
        return safe_open(path, framework="pt", device=str(device))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path.name} is not a readable safetensors file: {error}") from error
