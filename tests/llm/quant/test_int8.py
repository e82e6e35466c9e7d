"""Products in int8 by each kernel that computes exactly on this machine, and what becomes of one that does not."""

import copy
from collections.abc import Callable

import pytest
import torch

from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.precision import divergence, probed
from pandagpt_core.llm.quant.int8 import (
    CPU_KERNELS,
    LEVELS,
    PAIRED,
    Int8Linear,
    Product,
    WholeNumbers,
    int8_runs,
    is_exact,
    kernel,
)
from pandagpt_core.llm.quant.linear import Linear
from pandagpt_core.llm.torch_backend import serve

Make = Callable[..., Int8Linear]


@pytest.fixture
def layer() -> Linear:
    torch.manual_seed(0)
    return Linear(64, 48, bias=False).requires_grad_(False)


class Whole:
    """A kernel's arithmetic in float64, in which the sums are exact; `saturates` does what vpmaddubsw does: sums of two
    products, of unsigned activations, are cut to 16 bits."""

    def __init__(self, weight: torch.Tensor, levels: int = LEVELS, *, saturates: bool = False) -> None:
        self.levels, self._saturates = levels, saturates
        self._scale = weight.detach().abs().amax(dim=1) / LEVELS
        self._weight = (weight.detach() / self._scale[:, None]).round().double()

    def __call__(self, steps: torch.Tensor) -> torch.Tensor:
        unsigned = steps.round().double() + self.levels + 1
        pairs = (unsigned[:, None] * self._weight).unflatten(-1, (-1, 2)).sum(dim=-1)  # [N, out, in / 2]
        if self._saturates:
            pairs = pairs.clamp(-(2**15), 2**15 - 1)
        return (pairs.sum(dim=-1) - (self.levels + 1) * self._weight.sum(dim=1)).float() * self._scale


def saturating(weight: torch.Tensor, levels: int = LEVELS) -> Product:
    return Whole(weight, levels, saturates=True)


def paired(weight: torch.Tensor) -> Product:
    return saturating(weight, PAIRED)


@pytest.fixture(params=[*CPU_KERNELS, paired])
def int8(request: pytest.FixtureRequest) -> Make:
    """A layer's twin, by each kernel."""
    if not is_exact(request.param):
        pytest.skip("this kernel is not there or not exact on this processor; `kernel` does not take it")

    def make(layer: Linear, fine: bool = False) -> Int8Linear:
        return Int8Linear(layer.weight, fine=fine, product=request.param)

    return make


def test_a_kernel_whose_sums_saturate_is_found_out() -> None:
    assert not is_exact(saturating)
    assert is_exact(paired)
    assert is_exact(Whole)


def test_where_eight_bits_saturate_seven_and_a_second_row_are_taken(layer: Linear) -> None:
    made, x = Int8Linear(layer.weight, product=kernel("cpu", (saturating, paired))), torch.randn(7, 64)
    assert made.fine
    step = layer.weight.abs().amax(dim=1, keepdim=True) / LEVELS
    exact = x @ ((layer.weight / step).round() * step).T
    assert ((made(x) - exact).norm() / exact.norm()) < 0.001


def test_where_no_kernel_is_exact_int8_is_an_error() -> None:
    assert not int8_runs("cpu", (saturating,))
    with pytest.raises(ValueError, match="a kernel that computes exactly, cpu has none"):
        kernel("cpu", (saturating,))


def test_int8_is_within_one_percent(layer: Linear, int8: Make) -> None:
    x = torch.randn(7, 64) * torch.logspace(-3, 3, 7)[:, None]
    exact, rounded = layer(x), int8(layer)(x)
    assert ((rounded - exact).norm(dim=-1) / exact.norm(dim=-1)).max() < 0.01


def test_a_second_row_makes_good_what_an_outlier_takes_from_the_others(layer: Linear, int8: Make) -> None:
    x = torch.randn(7, 64)
    x[:, 3] = 100.0
    step = layer.weight.abs().amax(dim=1, keepdim=True) / 127
    exact = x @ ((layer.weight / step).round() * step).T  # of the rounded weights: the rest is the activations'
    plain, fine = (int8(layer, fine)(x) for fine in (False, True))
    assert (fine - exact).norm() < 0.001 * exact.norm()
    assert (plain - exact).norm() > 100 * (fine - exact).norm() or int8(layer).fine


def test_an_int8_row_does_not_depend_on_its_neighbours(layer: Linear, int8: Make) -> None:
    rounded, x = int8(layer), torch.randn(5, 64)
    x[3] *= 1000  # would widen the range of a batch quantised as one
    together = rounded(x)
    assert all(torch.equal(rounded(x[row : row + 1])[0], together[row]) for row in range(5))


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
def test_an_int8_row_that_is_not_finite_spoils_only_itself(layer: Linear, int8: Make, poison: float) -> None:
    rounded, x = int8(layer), torch.randn(4, 64)
    clean = rounded(x)
    x[2, 5] = poison
    spoilt = rounded(x)
    assert torch.equal(spoilt[[0, 1, 3]], clean[[0, 1, 3]])
    assert not spoilt[2].isfinite().all()


def test_int8_keeps_leading_dimensions_and_takes_zeros(layer: Linear, int8: Make) -> None:
    assert torch.equal(int8(layer)(torch.zeros(2, 3, 64)), torch.zeros(2, 3, 48))


@pytest.mark.parametrize("fine", [False, True])
@pytest.mark.parametrize("rows", [1, 16, 17, 40])
def test_kernels_of_as_many_bits_compute_the_same(layer: Linear, int8: Make, rows: int, fine: bool) -> None:
    x = torch.randn(rows, 64) * 5
    made = int8(layer, fine)
    reference = Int8Linear(layer.weight, fine=fine, product=lambda weight: Whole(weight, made._product.levels))
    torch.testing.assert_close(made(x), reference(x), rtol=1e-5, atol=1e-5)


def test_widths_that_a_gpu_cannot_take_are_named() -> None:
    with pytest.raises(ValueError, match=r"whole 8s, they are \(48, 60\)"):
        WholeNumbers(torch.zeros(48, 60), "cpu")


def test_it_runs_on_a_cpu_and_not_on_what_has_no_kernel() -> None:
    assert int8_runs("cpu") == any(is_exact(kernel) for kernel in CPU_KERNELS)
    assert not int8_runs("meta")
    assert int8_runs("cuda") <= torch.cuda.is_available()


@pytest.mark.gpu
@pytest.mark.parametrize("fine", [False, True])
def test_a_gpu_gives_what_the_cpu_gives(layer: Linear, fine: bool) -> None:
    x = torch.randn(7, 64)
    here, there = (Int8Linear(layer.weight, fine=fine, device=device) for device in ("cpu", "cuda"))
    torch.testing.assert_close(there(x.to("cuda")).cpu(), here(x), rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
def test_a_model_served_so_on_a_gpu_says_what_it_says_on_a_cpu() -> None:
    torch.manual_seed(1)
    llm = Llama(LlamaConfig(vocab=96, width=64, layers=2, heads=4, kv_heads=2, head_dim=16, ffn=96, tied=True))
    reference = probed(serve(copy.deepcopy(llm), "int8"))
    assert divergence(reference.to("cuda"), serve(llm, "int8", "cuda")) < 1e-4
