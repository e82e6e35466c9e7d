"""What a run computes on: accelerate finds the devices and processes, this says in which precision."""

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType

from pandagpt_core.training.tune.settings import TrainSettings


def open_accelerator(settings: TrainSettings) -> Accelerator:
    """One CPU, one GPU, or what torchrun or `accelerate launch` started this process among."""
    cpu = settings.device == "cpu" or not _has_accelerator()
    return Accelerator(mixed_precision=_mixed(settings, cpu), cpu=cpu)


def frozen_dtype(accelerator: Accelerator) -> torch.dtype:
    """What frozen matrices are kept in: what they are multiplied in, but FSDP shards only weights of one type."""
    plain = accelerator.mixed_precision == "no" or accelerator.distributed_type == DistributedType.FSDP
    return torch.float32 if plain else torch.bfloat16


def device_name(device: torch.device) -> str:
    """As a loader of weights wants it: accelerate numbers also CPUs, which nobody else does."""
    return "cpu" if device.type == "cpu" else str(device)


def _has_accelerator() -> bool:
    return torch.cuda.is_available() or torch.backends.mps.is_available()


def _mixed(settings: TrainSettings, cpu: bool) -> str:
    if settings.precision == "auto":
        return "bf16" if not cpu and torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
    return "bf16" if settings.precision == "bf16" else "no"
