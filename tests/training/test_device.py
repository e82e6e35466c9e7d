"""The device of the recipe: on the CPU as ever, elsewhere with every tensor of a step, and back again.

The meta device stands in for a GPU: a tensor that was left behind is refused there, and one that is read is refused
with another message, which a step comes to only when all of it was elsewhere.
"""

import numpy as np
import pytest
import torch

from pandagpt_core.encoders.mini.senses import map_features
from pandagpt_core.encoders.mini.towers import ImageHead, SignalTower, TextTower
from pandagpt_core.encoders.mini.trunk import EfficientNetLite0
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.training.device import CPU, mixed, narrow, pick, product_seconds
from pandagpt_core.training.log import Log
from pandagpt_core.training.lora import LoraConfig, add_lora
from recipes.panda_mini.language.projection_lora import Example, train_speech
from recipes.panda_mini.space.contrastive import AlignConfig, ClassSampler, Rows, Texts, align
from recipes.panda_mini.space.towers import Items, TowerConfig, align_tower, image_bank

META = torch.device("meta")
WHOLLY = r"item\(\) cannot be called on meta tensors"  # the loss of a step that was taken, read for the log
DIM, CONCEPTS = 4, 3


def tower() -> SignalTower:
    torch.manual_seed(0)
    return SignalTower(DIM, 8, 8, (4, 4), (4, 4), 16, 1, 2)


def align_small(device: torch.device, paired: bool = False) -> SignalTower:
    maps = np.random.default_rng(0).normal(size=(6, 1, 8, 8)).astype(np.float32)
    near = torch.eye(DIM)[torch.arange(6) % CONCEPTS] if paired else None
    made, bank = tower(), image_bank(torch.eye(DIM)[:CONCEPTS], torch.arange(CONCEPTS), CONCEPTS)
    items, config = Items(maps, np.arange(6) % CONCEPTS, near), TowerConfig(steps=3, batch=4)
    align_tower(made, items, bank, lambda one, _rng: one, config, Log(), device)
    return made


@pytest.mark.parametrize("paired", [False, True])
def test_a_towers_step_leaves_nothing_behind(paired: bool) -> None:
    with pytest.raises(RuntimeError, match=WHOLLY):
        align_small(META, paired)


def align_space(device: torch.device, *, texts_too: bool) -> ImageHead:
    torch.manual_seed(0)
    head, text = ImageHead(DIM, 8), TextTower(DIM, 8, 1, 2, 50, 4, 77)
    rows = Rows(torch.randn(12, 1280).abs(), torch.randn(12, 1000), torch.arange(12) % CONCEPTS)
    texts = Texts(tuple(torch.randint(1, 49, (2, 77)) for _ in range(CONCEPTS)), CONCEPTS)
    trunk = EfficientNetLite0().classifier.requires_grad_(False)
    sampler = ClassSampler(rows, CONCEPTS, trunk.weight, trunk.bias, torch.arange(1000) % CONCEPTS)
    config, fixed = AlignConfig(steps=3, batch=6, classes=3, pull=1.0), torch.eye(DIM)[:CONCEPTS]
    align(head, text if texts_too else None, None if texts_too else fixed, rows, texts, sampler, config, Log(), device)
    return head


@pytest.mark.parametrize(("slower", "wanted"), [(0.5, torch.bfloat16), (2.0, torch.bfloat16), (6.0, torch.float32)])
def test_products_on_a_cpu_are_in_bfloat16_where_that_is_not_far_slower(slower: float, wanted: torch.dtype) -> None:
    assert narrow(CPU, {torch.float32: 1.0, torch.bfloat16: slower}.__getitem__) == wanted


def test_a_product_is_timed_where_the_caller_computes_without_gradients_too() -> None:
    with torch.inference_mode():
        assert all(product_seconds.__wrapped__(dtype) > 0 for dtype in (torch.bfloat16, torch.float32))


@pytest.mark.filterwarnings("ignore:index_reduce")
@pytest.mark.parametrize("texts_too", [True, False])
def test_a_step_of_the_shared_space_leaves_nothing_behind(texts_too: bool) -> None:
    with pytest.raises(RuntimeError, match=WHOLLY):
        align_space(META, texts_too=texts_too)


def speak(device: torch.device) -> tuple[list[float], torch.nn.Linear]:
    torch.manual_seed(0)
    llm = Llama(LlamaConfig(vocab=40, width=16, layers=2, heads=4, kv_heads=2, head_dim=4, ffn=32, tied=True))
    projection, config = torch.nn.Linear(8, 16), LoraConfig(r=4, bf16=False)
    add_lora(llm, config)
    examples = [Example((1, None, 2, 3), (4, 5), torch.randn(8)), Example((1, 2), (6, 7, 8))]
    return train_speech(llm.to(device), projection.to(device), iter(lambda: examples, None), 3, config), projection


def test_a_step_of_the_language_model_goes_where_the_model_lies() -> None:
    """As far as the meta device goes: to the choice of the learned positions, behind the whole model."""
    with pytest.raises(RuntimeError, match=r"nonzero|meta tensors"):
        speak(META)


def test_maps_are_seen_where_the_trunk_lies() -> None:
    assert map_features(torch.rand(2, 1, 64, 64, device=META), EfficientNetLite0().to(META)).device == META


def test_products_are_computed_in_the_chosen_type_where_that_is_wanted() -> None:
    assert narrow(META) == torch.float32
    ones = torch.ones(2, 2)
    with mixed(CPU):
        assert (ones @ ones).dtype == narrow(CPU)
    with mixed(CPU, wanted=False):
        assert (ones @ ones).dtype == torch.float32


@pytest.mark.parametrize("name", ["cuda:99", "gpu"])
def test_a_device_that_is_not_here_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"torch finds no device {name} on this machine"):
        pick(name)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:index_reduce")
def test_a_gpu_comes_to_what_the_cpu_comes_to_and_what_it_made_lies_on_the_cpu() -> None:
    cuda = torch.device("cuda")
    here, there = (align_small(device) for device in (CPU, cuda))
    assert {weight.device for weight in there.parameters()} == {CPU}
    for one, other in zip(here.parameters(), there.parameters(), strict=True):
        torch.testing.assert_close(other, one, atol=2e-2, rtol=0)
    heads = [align_space(device, texts_too=True) for device in (CPU, cuda)]
    assert {weight.device for weight in heads[1].parameters()} == {CPU}
    torch.testing.assert_close(heads[1].outer.weight, heads[0].outer.weight, atol=2e-2, rtol=0)
    assert speak(cuda)[0] == pytest.approx(speak(CPU)[0], rel=1e-3)
