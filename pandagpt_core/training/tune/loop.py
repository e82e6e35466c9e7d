"""The steps of a run: each a function of the weights, the optimizer's state, the settings and its number.

Order, learning rate and dropout's chance follow from (seed, step), so a run that goes on from a checkpoint draws the
same curve. A step's loss is the mean over all answer tokens of its batch, however that is divided: a device or a
micro-batch with longer answers counts for more, and four devices give what one would.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from tqdm import tqdm

from pandagpt_core.errors import PandaGPTError
from pandagpt_core.training.lora import SCHEDULES
from pandagpt_core.training.tune.dataset import TrainSet, num_loss_tokens
from pandagpt_core.training.tune.order import Division, MixedOrder, Order
from pandagpt_core.training.tune.record import Record
from pandagpt_core.training.tune.settings import TrainSettings


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """What each step of a run does."""

    settings: TrainSettings
    order: Order | MixedOrder
    division: Division
    steps: int

    def rate(self, step: int) -> float:
        """Factor of the learning rates."""
        return SCHEDULES[self.settings.schedule](self.steps, self.settings.warmup, self.settings.floor)(step)


def train_loop(
    plan: TrainPlan,
    train_set: TrainSet,
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: Any,
    steps: range,
    record: Record | None,
    after: Callable[[int], None],
) -> None:
    """Train through `steps` (counted from 0); `after` hears the number of steps then behind the run."""
    model.train()
    with tqdm(total=plan.steps, initial=steps.start, desc="training", disable=record is None) as bar:
        for step in steps:
            began = time.monotonic()
            fields = one_step(plan, train_set, accelerator, model, optimizer, step)
            if record is not None:
                record(step + 1, **fields, seconds=round(time.monotonic() - began, 3))
            bar.set_postfix(loss=f"{fields['loss']:.3f}", refresh=False)
            bar.update()
            after(step + 1)


def one_step(
    plan: TrainPlan, train_set: TrainSet, accelerator: Accelerator, model: nn.Module, optimizer: Any, step: int
) -> dict[str, float]:
    """One update; what the log says of it. Raises PandaGPTError where the loss is no number any more."""
    seed_step(plan.settings.seed, step, accelerator.process_index)
    for group in optimizer.param_groups:
        group["lr"] = group["highest"] * plan.rate(step)
    mine = plan.division.mine(plan.order.of_step(step), accelerator.process_index)
    batches = [train_set.batch(indices).to(accelerator.device) for indices in mine]
    learned = accelerator.reduce(num_loss_tokens(batches, accelerator.device), reduction="sum")
    # The gradients of processes are averaged and `backward` divides by the micro-batches: undone, the sum is left.
    scale = accelerator.num_processes * plan.division.accumulated / learned
    sums, norm = torch.zeros(3, device=accelerator.device), None
    for batch in batches:
        with accelerator.accumulate(model):
            loss, right, counted = model(batch)
            accelerator.backward(loss * scale)
            if accelerator.sync_gradients:
                norm = accelerator.clip_grad_norm_(_trained(model), plan.settings.clip)
            optimizer.step()
            optimizer.zero_grad()
        sums += torch.stack([loss.detach().float(), right.float(), counted.float()])
    loss, right, counted = accelerator.reduce(sums, reduction="sum").tolist()
    mean = loss / float(learned)
    if not math.isfinite(mean):
        raise PandaGPTError(f"the loss is {mean} at step {step + 1}; a smaller train.lr or precision fp32 may help")
    return {
        "loss": mean,
        "accuracy": right / counted if counted else 0.0,
        "epoch": round(plan.order.epoch(step + 1), 4),
        "lr": optimizer.param_groups[0]["lr"],
        "grad_norm": float(norm) if norm is not None else 0.0,
        "answer_tokens": int(learned),
    }


def seed_step(seed: int, step: int, process: int) -> None:
    """What chance a step has follows from these alone."""
    torch.manual_seed(int(np.random.SeedSequence((seed, step, process)).generate_state(1, np.uint64)[0]))


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
