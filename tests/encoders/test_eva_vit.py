"""EVA ViT's own rules, on made weights: which biases there are, what is refused, how rows are joined."""

import pytest
import torch

from pandagpt_core.encoders.eva_vit import EvaSizes, EvaVit, interpolate_positions
from pandagpt_core.errors import CheckpointError, InvalidMedia, UnsupportedModality
from pandagpt_core.types import Modality

SIZES = EvaSizes(width=8, blocks=1, heads=2, mlp=16, patch=2, image=8)


@pytest.fixture
def vit() -> EvaVit:
    model = EvaVit(SIZES, device="cpu")
    chance = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=chance) * 0.1)
    return model


def test_the_published_sizes_are_986975872_weights_and_those_of_ln_vision() -> None:
    assert sum(p.numel() for p in EvaVit(EvaSizes()).parameters()) == 986_975_872 + 2_816


def test_keys_have_no_bias(vit: EvaVit) -> None:
    names = {name.rpartition(".")[2] for name, _ in vit.blocks[0].attn.named_parameters() if "proj" not in name}
    assert names == {"weight", "q_bias", "v_bias"}


def test_pictures_of_a_batch_do_not_see_one_another(vit: EvaVit) -> None:
    pictures = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    together = vit.encode(Modality.IMAGE, pictures)
    alone = torch.cat([vit.encode(Modality.IMAGE, one[None]) for one in pictures])
    assert together.shape == (3, 4, 32)
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


def test_a_row_is_a_strip_of_four_tokens_of_one_line(vit: EvaVit) -> None:
    pictures = torch.randn(1, 3, 8, 8)
    tokens = vit.ln_vision(vit.features(pictures))[0, 1:]  # 4 x 4 patches
    torch.testing.assert_close(vit.encode(Modality.IMAGE, pictures)[0, 2], tokens[8:12].flatten())


def test_another_shape_names_both(vit: EvaVit) -> None:
    with pytest.raises(InvalidMedia, match=r"\(3, 4, 4\), the encoder takes \(3, 8, 8\)"):
        vit.encode(Modality.IMAGE, torch.zeros(1, 3, 4, 4))
    with pytest.raises(UnsupportedModality):
        vit.encode(Modality.AUDIO, torch.zeros(1, 3, 8, 8))


def test_positions_of_the_same_grid_are_left_alone() -> None:
    positions = torch.randn(1, 17, 8)
    assert interpolate_positions(positions, 16) is positions


@pytest.mark.parametrize(("positions", "patches"), [(8, 16), (17, 12)])
def test_patches_that_make_no_square_are_refused(positions: int, patches: int) -> None:
    with pytest.raises(CheckpointError, match="no square"):
        interpolate_positions(torch.zeros(1, positions, 4), patches)


def test_a_config_of_other_names_is_refused() -> None:
    assert EvaSizes.from_config(SIZES.to_config()) == SIZES
    with pytest.raises(CheckpointError, match="depth, heads"):
        EvaSizes.from_config({"depth": 3, "heads": 0})
