"""What a run computes on: accelerate finds the devices and processes, this says in which precision."""

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType

from pandagpt_core.training.tune.settings import TrainSettings


def open_accelerator(settings: TrainSettings) -> Accelerator:
    """One CPU, one GPU, or what torchrun or `accelerate launch` started this process among."""
    cpu = settings.device == "cpu" or not _has_accelerator()
    bf16 = not cpu and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return Accelerator(mixed_precision=mixed_precision(settings.precision, gpu_with_bf16=bf16), cpu=cpu)


def mixed_precision(asked: str, *, gpu_with_bf16: bool) -> str:
    """accelerate's name for the precision of the products; what is asked for outright is had on any device."""
    return "bf16" if asked == "bf16" or (asked == "auto" and gpu_with_bf16) else "no"


def frozen_dtype(accelerator: Accelerator) -> torch.dtype:
    """What frozen matrices are kept in: what they are multiplied in, but FSDP shards only weights of one type."""
    plain = accelerator.mixed_precision == "no" or accelerator.distributed_type == DistributedType.FSDP
    return torch.float32 if plain else torch.bfloat16


def device_name(device: torch.device) -> str:
    """As a loader of weights wants it: accelerate numbers also CPUs, which nobody else does."""
    return "cpu" if device.type == "cpu" else str(device)


def _has_accelerator() -> bool:
    return torch.cuda.is_available() or torch.backends.mps.is_available()
