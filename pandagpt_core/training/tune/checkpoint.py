"""Checkpoints of a run: the trained weights and the optimizer's state. All else follows from the settings and the step.

OUT/checkpoints/step-000500/
  trained.safetensors, optimizer.pt   by our names; or, where accelerate shards the model (FSDP, DeepSpeed), shards/
  run.json                            the step, and the settings of the run; written last: without it nothing is there
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from safetensors.torch import load_file
from torch import Tensor, nn

from pandagpt_core.checkpoints import write_safetensors
from pandagpt_core.errors import CheckpointError, InvalidRequest

FOLDER = "checkpoints"
_RUN, _TRAINED, _OPTIMIZER, _SHARDS = "run.json", "trained.safetensors", "optimizer.pt", "shards"
_SHARDING = (DistributedType.FSDP, DistributedType.DEEPSPEED)

RunFingerprint = Mapping[str, Any]  # the settings of a run, flat: a run goes on only with the same


def save(
    out: Path,
    step: int,
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: Any,
    fingerprint: RunFingerprint,
    keep: int,
) -> Path:
    """Write the checkpoint of `step` and forget all but the newest `keep`. Every process calls it."""
    folder = out / FOLDER / f"step-{step:06}"
    if accelerator.is_main_process:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    accelerator.wait_for_everyone()
    if accelerator.distributed_type in _SHARDING:
        accelerator.save_state(str(folder / _SHARDS))
    elif accelerator.is_main_process:
        trained = trained_state(accelerator, model)
        write_safetensors(folder / _TRAINED, trained, trained.__getitem__)
        torch.save(optimizer.state_dict(), folder / _OPTIMIZER)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        (folder / _RUN).write_text(
            json.dumps({"step": step, "told": dict(fingerprint)}, indent=2) + "\n", encoding="utf-8"
        )
        for old in _found(out)[:-keep]:
            shutil.rmtree(old)
    return folder


def newest(out: Path) -> Path | None:
    """The run's latest whole checkpoint."""
    found = _found(out)
    return found[-1] if found else None


def load(folder: Path, accelerator: Accelerator, model: nn.Module, optimizer: Any, fingerprint: RunFingerprint) -> int:
    """Put the checkpoint into what `accelerator.prepare` gave; the number of steps that it has behind it.

    Raises InvalidRequest for a run with other settings.
    """
    run = json.loads((folder / _RUN).read_text(encoding="utf-8"))
    check_same(run["told"], json.loads(json.dumps(dict(fingerprint))))
    if (folder / _SHARDS).is_dir() != (accelerator.distributed_type in _SHARDING):
        raise InvalidRequest("the checkpoint is of a sharded run and this one is not, or the other way round")
    if accelerator.distributed_type in _SHARDING:
        accelerator.load_state(str(folder / _SHARDS))
    else:
        trained = load_file(folder / _TRAINED)
        own = {name: p for name, p in accelerator.unwrap_model(model).named_parameters() if p.requires_grad}
        if own.keys() != trained.keys():
            raise CheckpointError(f"{folder.name} holds other weights than those that are trained")
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(trained[name])
        state = torch.load(folder / _OPTIMIZER, map_location="cpu", weights_only=True)
        optimizer.load_state_dict(state)
    step: int = run["step"]
    return step


def trained_state(accelerator: Accelerator, model: nn.Module) -> dict[str, Tensor]:
    """The trained parameters by name, whole, on the CPU, float32. Every process of a sharded run must call it."""
    plain = accelerator.unwrap_model(model)
    names = [name for name, parameter in plain.named_parameters() if parameter.requires_grad]
    if accelerator.distributed_type in _SHARDING:
        gathered = accelerator.get_state_dict(model)
        return {name: gathered[name].detach().float().cpu() for name in names if name in gathered}
    own = dict(plain.named_parameters())
    return {name: own[name].detach().float().cpu().contiguous() for name in names}


def _found(out: Path) -> list[Path]:
    return sorted(run.parent for run in (out / FOLDER).glob(f"step-*/{_RUN}"))


def check_same(before: RunFingerprint, now: RunFingerprint) -> None:
    """Raise InvalidRequest that names each difference."""
    differing = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    if differing:
        lines = [f"  {key} was {before.get(key)!r}, it is {now.get(key)!r}" for key in differing]
        raise InvalidRequest("\n".join(["the checkpoint is of a run with other settings:", *lines]))
