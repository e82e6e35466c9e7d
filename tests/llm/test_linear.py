"""Matrix products in each precision."""

import pytest
import torch

from pandagpt_core.llm.linear import Int8Linear, Linear, in_precision, stacked


@pytest.fixture
def layer() -> Linear:
    torch.manual_seed(0)
    return Linear(64, 48, bias=False).requires_grad_(False)


def test_int8_is_within_one_percent(layer: Linear) -> None:
    x = torch.randn(7, 64) * torch.logspace(-3, 3, 7)[:, None]
    exact, rounded = layer(x), Int8Linear(layer.weight)(x)
    assert ((rounded - exact).norm(dim=-1) / exact.norm(dim=-1)).max() < 0.01


def test_a_second_row_makes_good_what_an_outlier_takes_from_the_others(layer: Linear) -> None:
    x = torch.randn(7, 64)
    x[:, 3] = 100.0
    step = layer.weight.abs().amax(dim=1, keepdim=True) / 127
    exact = x @ ((layer.weight / step).round() * step).T  # of the rounded weights: what remains is the activations'
    plain, fine = (Int8Linear(layer.weight, fine=fine)(x) for fine in (False, True))
    assert (plain - exact).norm() > 100 * (fine - exact).norm()


def test_an_int8_row_does_not_depend_on_its_neighbours(layer: Linear) -> None:
    int8, x = Int8Linear(layer.weight), torch.randn(5, 64)
    x[3] *= 1000  # would widen the range of a batch quantised as one
    together = int8(x)
    assert all(torch.equal(int8(x[row : row + 1])[0], together[row]) for row in range(5))


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
def test_an_int8_row_that_is_not_finite_spoils_only_itself(layer: Linear, poison: float) -> None:
    int8, x = Int8Linear(layer.weight), torch.randn(4, 64)
    clean = int8(x)
    x[2, 5] = poison
    spoilt = int8(x)
    assert torch.equal(spoilt[[0, 1, 3]], clean[[0, 1, 3]])
    assert not spoilt[2].isfinite().all()


def test_int8_keeps_leading_dimensions_and_takes_zeros(layer: Linear) -> None:
    assert torch.equal(Int8Linear(layer.weight)(torch.zeros(2, 3, 64)), torch.zeros(2, 3, 48))


def test_stacked_layers_answer_as_the_layers_one_by_one(layer: Linear) -> None:
    other, x = Linear(64, 16, bias=False), torch.randn(3, 64)
    joined = stacked([layer, other])(x)
    assert torch.allclose(joined, torch.cat((layer(x), other(x)), dim=-1), atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16", "int8"])
def test_every_precision_takes_and_answers_float32(layer: Linear, precision: str) -> None:
    cast = in_precision(layer, precision, "cpu")  # type: ignore[arg-type]  # the parameter is a plain string
    assert cast(torch.randn(2, 64)).dtype == torch.float32


def test_int8_is_refused_where_it_cannot_run(layer: Linear) -> None:
    with pytest.raises(ValueError, match="int8 products run on x86 processors only, not on cuda"):
        in_precision(layer, "int8", "cuda")
