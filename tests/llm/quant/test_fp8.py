"""Products in eight-bit floats, by torch's kernel on the CPU."""

import copy

import pytest
import torch

from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.precision import divergence, probed
from pandagpt_core.llm.quant.fp8 import LARGEST, Fp8Linear, to_fp8
from pandagpt_core.llm.quant.linear import Linear, in_precision
from pandagpt_core.llm.torch_backend import serve


@pytest.fixture
def layer() -> Linear:
    torch.manual_seed(0)
    return Linear(64, 48, bias=False).requires_grad_(False)


def test_it_is_within_five_percent_whatever_the_size_of_a_row(layer: Linear) -> None:
    x = torch.randn(7, 64) * torch.logspace(-6, 6, 7)[:, None]
    exact, rounded = layer(x), in_precision(layer, "fp8", "cpu")(x)
    assert ((rounded - exact).norm(dim=-1) / exact.norm(dim=-1)).max() < 0.05
    assert rounded.dtype == torch.float32


def test_a_row_does_not_depend_on_its_neighbours(layer: Linear) -> None:
    fp8, x = Fp8Linear(layer.weight, "cpu"), torch.randn(5, 64)
    x[3] *= 1000
    together = fp8(x)
    assert all(torch.equal(fp8(x[row : row + 1])[0], together[row]) for row in range(5))


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_row_that_is_not_finite_spoils_only_itself(layer: Linear, poison: float) -> None:
    fp8, x = Fp8Linear(layer.weight, "cpu"), torch.randn(4, 64)
    clean = fp8(x)
    x[2, 5] = poison
    spoilt = fp8(x)
    assert torch.equal(spoilt[[0, 1, 3]], clean[[0, 1, 3]])
    assert not spoilt[2].isfinite().all()


def test_the_largest_of_a_row_keeps_its_place_at_the_end_of_the_range() -> None:
    rounded, scale = to_fp8(torch.tensor([[1.0, -3.3e38], [0.0, 0.0]]))
    assert rounded.float()[0, 1] == -LARGEST
    assert scale.shape == (2, 1)
    assert torch.equal(rounded.float()[1], torch.zeros(2))


def test_leading_dimensions_are_kept(layer: Linear) -> None:
    assert Fp8Linear(layer.weight, "cpu")(torch.zeros(2, 3, 64)).shape == (2, 3, 48)


def test_widths_that_the_kernel_cannot_take_are_named() -> None:
    with pytest.raises(ValueError, match=r"whole 16s, they are \(48, 40\)"):
        Fp8Linear(torch.zeros(48, 40), "cpu")


def test_a_model_served_so_says_nearly_what_it_said() -> None:
    torch.manual_seed(1)
    llm = Llama(LlamaConfig(vocab=96, width=64, layers=2, heads=4, kv_heads=2, head_dim=16, ffn=96, tied=True))
    twin = serve(copy.deepcopy(llm), "fp8")
    reference = probed(serve(llm, "fp32"))
    assert 0 < divergence(reference, twin) < 0.01
    assert twin.head.weight.dtype == torch.bfloat16  # the head and the table it is tied to stay finer
    assert twin.llm.model.embed_tokens.weight is twin.head.weight


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives(layer: Linear) -> None:
    x = torch.randn(7, 64)
    here, there = Fp8Linear(layer.weight, "cpu")(x), Fp8Linear(layer.weight, "cuda")(x.to("cuda"))
    torch.testing.assert_close(there.cpu(), here, rtol=0.02, atol=0.02)
