"""Products in int8, by fbgemm and by torch's product of whole numbers, which a GPU has and a CPU too."""

import copy
from collections.abc import Callable

import pytest
import torch

from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.precision import divergence, probed
from pandagpt_core.llm.quant.int8 import Fbgemm, Int8Linear, Product, WholeNumbers, int8_runs
from pandagpt_core.llm.quant.linear import Linear

Make = Callable[..., Int8Linear]


@pytest.fixture
def layer() -> Linear:
    torch.manual_seed(0)
    return Linear(64, 48, bias=False).requires_grad_(False)


def on_whole_numbers(weight: torch.Tensor) -> Product:
    return WholeNumbers(weight, "cpu")


@pytest.fixture(params=[Fbgemm, on_whole_numbers])
def int8(request: pytest.FixtureRequest) -> Make:
    """A layer's twin, by either kernel."""

    def make(layer: Linear, fine: bool = False) -> Int8Linear:
        made = Int8Linear(layer.weight, fine=fine)
        made._product = request.param(layer.weight)
        return made

    return make


def test_int8_is_within_one_percent(layer: Linear, int8: Make) -> None:
    x = torch.randn(7, 64) * torch.logspace(-3, 3, 7)[:, None]
    exact, rounded = layer(x), int8(layer)(x)
    assert ((rounded - exact).norm(dim=-1) / exact.norm(dim=-1)).max() < 0.01


def test_a_second_row_makes_good_what_an_outlier_takes_from_the_others(layer: Linear, int8: Make) -> None:
    x = torch.randn(7, 64)
    x[:, 3] = 100.0
    step = layer.weight.abs().amax(dim=1, keepdim=True) / 127
    exact = x @ ((layer.weight / step).round() * step).T  # of the rounded weights: what remains is the activations'
    plain, fine = (int8(layer, fine)(x) for fine in (False, True))
    assert (plain - exact).norm() > 100 * (fine - exact).norm()


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
def test_both_kernels_compute_the_same(layer: Linear, rows: int, fine: bool) -> None:
    x = torch.randn(rows, 64) * 5
    there = Int8Linear(layer.weight, fine=fine)
    there._product = on_whole_numbers(layer.weight)
    torch.testing.assert_close(there(x), Int8Linear(layer.weight, fine=fine)(x), rtol=1e-5, atol=1e-5)


def test_widths_that_a_gpu_cannot_take_are_named() -> None:
    with pytest.raises(ValueError, match=r"whole 8s, they are \(48, 60\)"):
        WholeNumbers(torch.zeros(48, 60), "cpu")


def test_it_runs_on_a_cpu_and_not_on_what_has_no_kernel() -> None:
    assert int8_runs("cpu")
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
    reference = probed(copy.deepcopy(llm).serve("int8"))
    assert divergence(reference.to("cuda"), llm.serve("int8", "cuda")) < 1e-4
