"""Whether a tower's products are rounded."""

import pytest
import torch
import torch.nn.functional as F

from pandagpt_core.encoders import precision
from pandagpt_core.encoders.imagebind import ImageBind
from pandagpt_core.encoders.precision import MARGIN, OF_TOWER, made_clip, quicken, seconds
from pandagpt_core.encoders.sizes import TOWERS, ImageBindSizes, TowerSize
from pandagpt_core.encoders.transformer import Block
from pandagpt_core.llm.linear import Linear

TINY = TowerSize(width=32, blocks=2, heads=4)


@pytest.fixture
def encoder() -> ImageBind:
    torch.manual_seed(0)
    sizes = ImageBindSizes(**dict.fromkeys(TOWERS, TINY), out=16, vocab=64)
    made = ImageBind(sizes, variant="imagebind", device="cpu")
    for parameter in made.state_dict().values():
        parameter.copy_(torch.randn(parameter.shape) * 0.2 + (parameter.ndim == 1))
    made.get_submodule("modality_preprocessors.text").get_buffer("mask").copy_(
        torch.full((77, 77), float("-inf")).triu(1)
    )
    return made


@pytest.fixture(autouse=True)
def _tiny_counts_as_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "SMALL", 0)


def bf16_is_fast(layer: Linear) -> float:
    return 0.4 if layer.weight.dtype == torch.bfloat16 else 1.0


def dtypes(encoder: ImageBind, tower: str) -> set[torch.dtype]:
    blocks = [block for block in encoder.modality_trunks[tower].modules() if isinstance(block, Block)]
    return {parameter.dtype for block in blocks for parameter in block.products()}


def test_rounded_towers_point_where_the_exact_ones_do(encoder: ImageBind) -> None:
    clips = {tower: made_clip(encoder, tower) for tower in TOWERS}
    exact = {tower: encoder.encode(OF_TOWER[tower], clip) for tower, clip in clips.items()}
    assert quicken(encoder, bf16_is_fast) == TOWERS
    for tower, clip in clips.items():
        assert dtypes(encoder, tower) == {torch.bfloat16}
        rounded = encoder.encode(OF_TOWER[tower], clip)
        assert rounded.dtype == torch.float32
        assert not torch.equal(rounded, exact[tower])
        assert F.cosine_similarity(rounded, exact[tower]).min() >= MARGIN


def test_a_tower_that_would_deviate_stays_exact(encoder: ImageBind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "MARGIN", 1.1)
    clip = made_clip(encoder, "audio")
    before = encoder.encode(OF_TOWER["audio"], clip)
    assert quicken(encoder, bf16_is_fast) == ()
    assert dtypes(encoder, "audio") == {torch.float32}
    assert torch.equal(encoder.encode(OF_TOWER["audio"], clip), before)


def test_what_is_not_faster_or_small_stays_exact(encoder: ImageBind, monkeypatch: pytest.MonkeyPatch) -> None:
    assert quicken(encoder, lambda layer: 1.0) == ()
    monkeypatch.setattr(precision, "SMALL", 10**9)
    assert quicken(encoder, bf16_is_fast) == ()


def test_the_clock_is_asked_of_both_precisions() -> None:
    assert seconds(Linear(8, 8)) > 0
    assert seconds(Linear(8, 8, dtype=torch.bfloat16)) > 0
