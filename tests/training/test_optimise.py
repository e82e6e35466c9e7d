"""One loop: rates, gradients, the limit of their norm, and what is reported of each step."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from pandagpt_core.training.optimise import optimise


def test_a_step_follows_the_gradient_at_the_step_s_rate() -> None:
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    seen: list[tuple[int, float, float]] = []

    def losses(_step: int) -> Iterator[Tensor]:
        yield (weight * weight).sum() / 2  # its gradient is the weight

    optimizer = torch.optim.SGD([{"params": [weight], "highest": 0.5}], lr=9.0)
    optimise(optimizer, range(2), losses, lambda *of: seen.append(of), rate=lambda step: 1.0 - step, clip=100.0)
    torch.testing.assert_close(weight.detach(), torch.tensor([1.5, 2.0]))  # half of it gone, then a rate of zero
    assert seen == [(0, 12.5, 5.0), (1, 3.125, 2.5)]


def test_a_gradient_is_clipped_and_its_own_norm_reported() -> None:
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    norms: list[float] = []
    optimizer = torch.optim.SGD([{"params": [weight], "highest": 1.0}], lr=1.0)
    optimise(optimizer, [0], lambda _: [(weight * weight).sum() / 2], lambda *of: norms.append(of[2]), clip=1.0)
    assert norms == [5.0]
    torch.testing.assert_close(weight.detach(), torch.tensor([2.4, 3.2]))


def test_losses_of_a_step_are_summed_where_the_backend_gathers_them() -> None:
    weight = nn.Parameter(torch.tensor(1.0))
    asked: list[float] = []

    class Never:
        """A backend whose gradients are never whole."""

        def backward(self, loss: Tensor) -> None:
            asked.append(float(loss.detach()))

        def clip(self, _weights: list[nn.Parameter], _limit: float) -> None:
            return None

    reported: list[tuple[int, float, float]] = []
    optimizer = torch.optim.SGD([{"params": [weight], "highest": 1.0}], lr=1.0)
    optimise(
        optimizer, [7], lambda _: [weight * 2, weight * 3], lambda *of: reported.append(of), clip=1.0, backend=Never()
    )
    assert asked == pytest.approx([2.0, 3.0])
    assert reported == [(7, 5.0, 0.0)]
