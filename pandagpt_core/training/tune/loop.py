"""The steps of a run: each a function of the weights, the optimizer's state, the settings and its number.

Order, learning rate and dropout's chance follow from (seed, step), so a run that goes on from a checkpoint draws the
same curve. A step's loss is the mean over all answer tokens of its batch, however that is divided: a device or a
micro-batch with longer answers counts for more, and four devices give what one would.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from pandagpt_core.errors import PandaGPTError
from pandagpt_core.training.lora import SCHEDULES
from pandagpt_core.training.optimise import optimise
from pandagpt_core.training.tune.data.dataset import TrainSet, num_loss_tokens
from pandagpt_core.training.tune.data.order import Division, MixedOrder, Order
from pandagpt_core.training.tune.settings import TrainSettings


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """The fixed values of every step of a run."""

    settings: TrainSettings
    order: Order | MixedOrder
    division: Division
    steps: int

    def rate(self, step: int) -> float:
        """Factor of the learning rates."""
        return SCHEDULES[self.settings.schedule](self.steps, self.settings.warmup, self.settings.floor)(step)


class Accelerated:
    """Gradients over the processes of an accelerator; a step's losses are its micro-batches'."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator

    def backward(self, loss: Tensor) -> None:
        self._accelerator.backward(loss)

    def clip(self, weights: list[nn.Parameter], limit: float) -> Tensor | None:
        return self._accelerator.clip_grad_norm_(weights, limit) if self._accelerator.sync_gradients else None


def train_loop(
    plan: TrainPlan,
    train_set: TrainSet,
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: Any,
    steps: range,
    record: Callable[..., None] | None,
    after: Callable[[int], None],
) -> None:
    """Train through `steps` (counted from 0); `after` is called with the number of steps then behind the run."""
    model.train()
    running, began = _Running(plan, train_set, accelerator, model), time.monotonic()
    bar = tqdm(steps, total=plan.steps, initial=steps.start, desc="training", disable=record is None)

    def ended(step: int, _loss: float, norm: float) -> None:
        nonlocal began
        fields = running.fields(step, norm, optimizer.param_groups[0]["lr"])
        if record is not None:
            record(step + 1, **fields, seconds=round(time.monotonic() - began, 3))
        bar.set_postfix(loss=f"{fields['loss']:.3f}", refresh=False)
        after(step + 1)
        began = time.monotonic()

    backend = Accelerated(accelerator)
    optimise(optimizer, bar, running.losses, ended, rate=plan.rate, clip=plan.settings.clip, backend=backend)


class _Running:
    """The losses of each step, and its entry in the log: over all processes, by answer token."""

    def __init__(self, plan: TrainPlan, train_set: TrainSet, accelerator: Accelerator, model: nn.Module) -> None:
        self._plan, self._train_set, self._accelerator, self._model = plan, train_set, accelerator, model
        self._learned: Any = 0
        self._sums = torch.zeros(3)

    def losses(self, step: int) -> Iterator[Tensor]:
        plan, accelerator = self._plan, self._accelerator
        seed_step(plan.settings.seed, step, accelerator.process_index)
        mine = plan.division.mine(plan.order.of_step(step), accelerator.process_index)
        batches = [self._train_set.batch(indices).to(accelerator.device) for indices in mine]
        self._learned = accelerator.reduce(num_loss_tokens(batches, accelerator.device), reduction="sum")
        # The gradients of processes are averaged and `backward` divides by the micro-batches: undone, the sum is left.
        scale = accelerator.num_processes * plan.division.accumulated / self._learned
        self._sums = torch.zeros(3, device=accelerator.device)
        for batch in batches:
            with accelerator.accumulate(self._model):  # to the end of the update
                loss, right, counted = self._model(batch)
                self._sums += torch.stack([loss.detach().float(), right.float(), counted.float()])
                yield loss * scale

    def fields(self, step: int, norm: float, lr: float) -> dict[str, float]:
        """Raises PandaGPTError where the loss is no number any more."""
        loss, right, counted = self._accelerator.reduce(self._sums, reduction="sum").tolist()
        mean = loss / float(self._learned)
        if not math.isfinite(mean):
            raise PandaGPTError(f"the loss is {mean} at step {step + 1}; a smaller train.lr or precision fp32 may help")
        return {
            "loss": mean,
            "accuracy": right / counted if counted else 0.0,
            "epoch": round(self._plan.order.epoch(step + 1), 4),
            "lr": lr,
            "grad_norm": norm,
            "answer_tokens": int(self._learned),
        }


def seed_step(seed: int, step: int, process: int) -> None:
    """All chance of a step follows from these."""
    torch.manual_seed(int(np.random.SeedSequence((seed, step, process)).generate_state(1, np.uint64)[0]))
