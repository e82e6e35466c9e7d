"""The loop of every training: rates are set, the gradients of a step's losses summed and clipped, weights updated."""

from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor, nn


class Backend(Protocol):
    """Gradients on one device, or on the many of `accelerate`."""

    def backward(self, loss: Tensor) -> None: ...

    def clip(self, weights: list[nn.Parameter], limit: float) -> Tensor | None:
        """The norm of all gradients before they are clipped to `limit`; None while a step's losses are not all in."""
        ...


class OneDevice:
    """Each step has one loss."""

    def backward(self, loss: Tensor) -> None:
        torch.autograd.backward(loss)

    def clip(self, weights: list[nn.Parameter], limit: float) -> Tensor | None:
        return nn.utils.clip_grad_norm_(weights, limit)


ONE_DEVICE = OneDevice()


def optimise(
    optimizer: torch.optim.Optimizer,
    steps: Iterable[int],
    losses: Callable[[int], Iterable[Tensor]],
    after: Callable[[int, float, float], None],
    *,
    rate: Callable[[int], float] | None = None,
    clip: float | None = None,
    backend: Backend = ONE_DEVICE,
) -> None:
    """Update the optimizer's weights in each of `steps` (counted from 0) by the sum of its `losses`.

    rate: factor of each group's `highest` learning rate; without it the caller sets the rates in `after`. `after` gets
    the step, the sum of its losses and the gradients' norm (0 without `clip`).
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"] if weight.requires_grad]
    for step in steps:
        if rate is not None:
            factor = rate(step)
            for group in optimizer.param_groups:
                group["lr"] = group["highest"] * factor
        seen, norm = list[Tensor](), None
        for loss in losses(step):
            backend.backward(loss)
            if clip is not None:
                norm = backend.clip(weights, clip)
            optimizer.step()
            optimizer.zero_grad()
            seen.append(loss.detach())
        after(step, sum(map(float, seen)), 0.0 if norm is None else float(norm))
