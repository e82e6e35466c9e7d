"""The devices of a run, which accelerate finds with its processes, and the precision of its products."""

from collections.abc import Callable

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.training.tune.settings import TrainSettings, TuneSettings

OpenDevices = Callable[[TrainSettings], Accelerator]


def open_accelerator(settings: TrainSettings) -> Accelerator:
    """One CPU, one GPU, or what torchrun or `accelerate launch` started this process among."""
    cpu = settings.device == "cpu" or not _has_accelerator()
    bf16 = not cpu and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return Accelerator(mixed_precision=mixed_precision(settings.precision, gpu_with_bf16=bf16), cpu=cpu)


def mixed_precision(asked: str, *, gpu_with_bf16: bool) -> str:
    """accelerate's name for the precision of the products; a named precision is used on any device."""
    return "bf16" if asked == "bf16" or (asked == "auto" and gpu_with_bf16) else "no"


def frozen_dtype(accelerator: Accelerator) -> torch.dtype:
    """Type of frozen matrices: that of their products, but float32 under FSDP, which shards one type of weights."""
    plain = accelerator.mixed_precision == "no" or accelerator.distributed_type == DistributedType.FSDP
    return torch.float32 if plain else torch.bfloat16


def device_name(device: torch.device) -> str:
    """As a loader of weights wants it: accelerate numbers also CPUs, which nobody else does."""
    return "cpu" if device.type == "cpu" else str(device)


def _has_accelerator() -> bool:
    return torch.cuda.is_available() or torch.backends.mps.is_available()


def check_accumulation(accelerator: Accelerator, accumulated: int) -> None:
    """DeepSpeed takes its own configuration's number, if that has one, in place of the run's."""
    theirs = accelerator.gradient_accumulation_steps
    if theirs != accumulated:
        raise InvalidRequest(
            f"accelerate's configuration has gradient_accumulation_steps {theirs}, train.batch and train.micro_batch "
            f"make it {accumulated}; leave it out there"
        )


def configure_deepspeed(accelerator: Accelerator, settings: TuneSettings) -> None:
    """Sets the size of a micro-batch, which DeepSpeed else takes from a data loader; there is none here."""
    plugin = getattr(accelerator.state, "deepspeed_plugin", None)
    if plugin is not None:
        plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = settings.train.micro_batch
        plugin.deepspeed_config["gradient_clipping"] = settings.train.clip


def described(accelerator: Accelerator) -> str:
    kind = f"{accelerator.num_processes} x {accelerator.device.type}"
    return f"{kind}, {'float32' if accelerator.mixed_precision == 'no' else accelerator.mixed_precision}"
