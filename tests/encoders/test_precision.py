"""Whether a tower's products are rounded."""

import copy
import functools
from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F

from pandagpt_core.autotune import AutotuneReport, Steps, seconds
from pandagpt_core.encoders.eva_vit import EvaSizes, EvaVit
from pandagpt_core.encoders.imagebind import ImageBind
from pandagpt_core.encoders.precision import (
    LIMIT,
    OF_TOWER,
    autocast_eva_vit,
    autocast_towers,
    made_clip,
    product_steps,
)
from pandagpt_core.encoders.sizes import TOWERS, ImageBindSizes, TowerSize
from pandagpt_core.encoders.transformer import Block
from pandagpt_core.llm.quant.linear import Linear
from pandagpt_core.types import Modality

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


# Tiny towers count as large.
towers_rounded = functools.partial(autocast_towers, least=0)
eva_vit_rounded = functools.partial(autocast_eva_vit, least=0)


def bf16_is_fast(steps: Steps) -> Mapping[str, float]:
    return {name: 0.4 if name.startswith("bfloat16") else 1.0 for name in steps}


def all_are_alike(steps: Steps) -> Mapping[str, float]:
    return dict.fromkeys(steps, 1.0)


def dtypes(encoder: ImageBind, tower: str) -> set[torch.dtype]:
    blocks = [block for block in encoder.modality_trunks[tower].modules() if isinstance(block, Block)]
    return {parameter.dtype for block in blocks for parameter in block.products()}


def inner(encoder: ImageBind, tower: str) -> set[torch.dtype | None]:
    return {block.inner for block in encoder.modality_trunks[tower].modules() if isinstance(block, Block)}


def test_rounded_towers_point_where_the_exact_ones_do(encoder: ImageBind) -> None:
    clips = {tower: made_clip(encoder, tower) for tower in TOWERS}
    exact = {tower: encoder.encode(OF_TOWER[tower], clip) for tower, clip in clips.items()}
    assert towers_rounded(encoder, timed=bf16_is_fast) == TOWERS
    for tower, clip in clips.items():
        assert dtypes(encoder, tower) == {torch.bfloat16}
        assert inner(encoder, tower) == {None}
        rounded = encoder.encode(OF_TOWER[tower], clip)
        assert rounded.dtype == torch.float32
        assert not torch.equal(rounded, exact[tower])
        assert F.cosine_similarity(rounded, exact[tower]).min() >= 1 - LIMIT


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_a_tower_that_would_deviate_stays_exact(encoder: ImageBind, kind: str) -> None:
    class Brittle(Block):
        """Loses its way when its products are rounded."""

        def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
            exact = all(parameter.dtype == torch.float32 for parameter in self.products())
            return super().forward(x, mask) if exact else -x

    for tower in TOWERS:
        encoder.modality_trunks[tower].blocks[0].__class__ = Brittle
    clip = made_clip(encoder, "audio")
    before = encoder.encode(OF_TOWER["audio"], clip)
    assert towers_rounded(encoder, timed=bf16_is_fast, kind=kind) == ()
    assert (dtypes(encoder, "audio"), inner(encoder, "audio")) == ({torch.float32}, {None})
    assert torch.equal(encoder.encode(OF_TOWER["audio"], clip), before)


def test_on_cuda_what_is_between_the_products_is_rounded_too(encoder: ImageBind) -> None:
    clips = {tower: made_clip(encoder, tower) for tower in TOWERS}
    exact = {tower: encoder.encode(OF_TOWER[tower], clip) for tower, clip in clips.items()}
    assert towers_rounded(encoder, timed=bf16_is_fast, kind="cuda") == TOWERS
    for tower, clip in clips.items():
        assert inner(encoder, tower) == {torch.bfloat16}
        rounded = encoder.encode(OF_TOWER[tower], clip)
        assert rounded.dtype == torch.float32
        assert F.cosine_similarity(rounded, exact[tower]).min() >= 1 - LIMIT


def norm_dtypes(encoder: ImageBind, tower: str) -> set[torch.dtype]:
    layers = [module for module in encoder.modality_trunks[tower].modules() if isinstance(module, torch.nn.LayerNorm)]
    return {layer.weight.dtype for layer in layers}


def test_on_cuda_sums_and_norms_are_rounded_where_the_margin_allows_it(encoder: ImageBind) -> None:
    class Offset(Block):
        """Of its sums in bfloat16 nothing is left."""

        def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
            return super().forward(x + 4000.0, mask) - 4000.0

    encoder.modality_trunks["audio"].blocks[0].__class__ = Offset
    assert towers_rounded(encoder, timed=bf16_is_fast, kind="cuda") == TOWERS
    assert {tower: norm_dtypes(encoder, tower) for tower in ("vision", "audio")} == {
        "vision": {torch.bfloat16},
        "audio": {torch.float32},
    }
    assert inner(encoder, "audio") == {torch.bfloat16}


def test_a_block_rounded_inside_sums_and_normalises_in_float32() -> None:
    torch.manual_seed(0)
    block, seen = Block(32, 4, extra_token=True), []
    block.attn.bias_k.data.normal_()
    block.attn.bias_v.data.normal_()
    for parameter in block.products():
        parameter.data = torch.randn(parameter.shape).mul(0.2).to(torch.bfloat16)
    block.inner = torch.bfloat16
    block.mlp.fc2.register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
    block.attn.out_proj.register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
    x = torch.randn(2, 5, 32) + 1000.0  # in bfloat16 the steps there are 4
    with torch.inference_mode():
        moved = block(x, None) - x
    assert seen == [torch.bfloat16, torch.bfloat16]
    assert moved.dtype == torch.float32
    assert len(moved.unique()) > 300  # of 320


def test_where_rounding_goes_beyond_the_margin_products_alone_are_rounded(
    encoder: ImageBind,
) -> None:
    class Sensitive(Block):
        """Loses its way when it is rounded inside."""

        def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
            return super().forward(x, mask) if self.inner is None else -x

    for tower in ("audio", "text"):
        encoder.modality_trunks[tower].blocks[0].__class__ = Sensitive
    assert towers_rounded(encoder, timed=bf16_is_fast, kind="cuda") == TOWERS
    for tower in TOWERS:
        assert dtypes(encoder, tower) == {torch.bfloat16}
        assert inner(encoder, tower) == {None if tower in ("audio", "text") else torch.bfloat16}


def test_each_tower_reports_what_was_taken_and_measured(encoder: ImageBind) -> None:
    reports: list[AutotuneReport] = []
    towers_rounded(encoder, reports.append, bf16_is_fast)
    assert [(report.what, report.taken) for report in reports] == [
        (f"{tower} tower", "bfloat16 products") for tower in TOWERS
    ]
    assert all(trial.seconds for report in reports for trial in report.trials)


def test_towers_on_other_devices_are_left_alone(encoder: ImageBind) -> None:
    assert towers_rounded(encoder, timed=bf16_is_fast, kind="mps") == ()
    assert dtypes(encoder, "vision") == {torch.float32}


def test_what_is_not_faster_or_small_stays_exact(encoder: ImageBind) -> None:
    assert towers_rounded(encoder, timed=all_are_alike) == ()
    assert autocast_towers(encoder, timed=bf16_is_fast) == ()


def test_the_clock_is_asked_of_both_precisions() -> None:
    steps = {str(dtype): product_steps(Linear(8, 8), dtype) for dtype in (None, torch.bfloat16)}
    assert min(seconds(steps).values()) > 0


@pytest.mark.gpu
def test_towers_on_a_cuda_device_are_rounded_within_the_margin(encoder: ImageBind) -> None:
    there = copy.deepcopy(encoder).to("cuda")
    assert seconds({"it": product_steps(Linear(512, 512, device="cuda"), torch.bfloat16)})["it"] > 0
    assert towers_rounded(there, timed=bf16_is_fast) == TOWERS
    for tower in TOWERS:
        assert inner(there, tower) == {torch.bfloat16}
        clip = made_clip(encoder, tower)
        rounded = there.encode(OF_TOWER[tower], clip.to("cuda")).cpu()
        assert F.cosine_similarity(rounded, encoder.encode(OF_TOWER[tower], clip)).min() >= 1 - LIMIT


@pytest.fixture
def eva_vit() -> EvaVit:
    torch.manual_seed(0)
    made = EvaVit(EvaSizes(width=32, blocks=2, heads=4, mlp=64, patch=4, image=16), device="cpu")
    for parameter in made.parameters():
        parameter.copy_(torch.randn(parameter.shape) * 0.2 + (parameter.ndim == 1))
    return made


def eva_dtypes(vit: EvaVit) -> set[torch.dtype]:
    return {parameter.dtype for block in vit.blocks for parameter in block.products()}


def test_every_row_of_a_rounded_eva_vit_points_where_it_did(eva_vit: EvaVit) -> None:
    picture = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    exact = eva_vit.encode(Modality.IMAGE, picture)
    assert eva_vit_rounded(eva_vit, timed=bf16_is_fast)
    assert eva_dtypes(eva_vit) == {torch.bfloat16}
    rounded = eva_vit.encode(Modality.IMAGE, picture)
    assert not torch.equal(rounded, exact)
    assert F.cosine_similarity(rounded, exact, dim=-1).min() >= 1 - 2 * LIMIT  # of another picture than the one tried


def test_an_eva_vit_stays_exact_where_nothing_is_won(eva_vit: EvaVit) -> None:
    assert not eva_vit_rounded(eva_vit, timed=all_are_alike)
    assert eva_dtypes(eva_vit) == {torch.float32}
