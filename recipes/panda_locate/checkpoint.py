"""State from which a training goes on: the trained weights, AdamW's two moments of each, and the step, in one file."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

_MOMENTS = ("exp_avg", "exp_avg_sq")


def keep(trained: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, path: Path, step: int) -> None:
    """Write the state after `step` steps. A process that ends meanwhile leaves the former file."""
    state = {name: weight.detach().contiguous() for name, weight in trained.items()}
    for name, weight in trained.items():
        state |= {f"{moment}:{name}": optimizer.state[weight][moment].contiguous() for moment in _MOMENTS}
    half = path.with_suffix(".half")
    save_file(state, half, {"step": json.dumps(step)})
    half.replace(path)


def resume(trained: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, path: Path) -> int:
    """Read the state back in place; the steps that were done, 0 where there is no file."""
    if not path.exists():
        return 0
    with safe_open(path, "pt") as file:
        step = int(json.loads(file.metadata()["step"]))
        for name, weight in trained.items():
            weight.data.copy_(file.get_tensor(name))
            moments = {moment: file.get_tensor(f"{moment}:{name}").clone() for moment in _MOMENTS}
            optimizer.state[weight] = {"step": torch.tensor(float(step)), **moments}
    return step
