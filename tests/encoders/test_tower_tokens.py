"""The tokens that towers give beside their embeddings, for both kinds of encoder that have them."""

import pytest
import torch
from torch import nn

from pandagpt_core.encoders.base import TokenEncoder
from pandagpt_core.encoders.imagebind import ImageBind
from pandagpt_core.encoders.languagebind import LanguageBind, LanguageBindSizes, TextSize, VisionSize
from pandagpt_core.encoders.points.sizes import PointSize
from pandagpt_core.encoders.sizes import TOWERS, ImageBindSizes, TowerSize
from pandagpt_core.errors import UnsupportedModality
from pandagpt_core.types import Modality

POINT = PointSize(width=16, blocks=1, heads=2, groups=8, neighbours=4, local=16, projected=12)
IMAGEBIND = ImageBindSizes(
    **{name: TowerSize(24 if name == "depth" else 16, 1, 2) for name in TOWERS}, out=8, vocab=64, point=POINT
)
CLIP = {"width": 16, "blocks": 1, "heads": 2, "ffn": 32, "activation": "gelu"}
LANGUAGEBIND = LanguageBindSizes(
    out=8,
    text=TextSize(**CLIP, vocab=64, positions=77),
    image=VisionSize(**CLIP, image=28, patch=14),
    video=VisionSize(**CLIP, image=28, patch=14, frames=3),
)
# Modality, clips of two items, and the tokens of each.
READ = {
    "imagebind": [
        (Modality.IMAGE, (2, 3, 28, 28), 5),
        (Modality.VIDEO, (2, 3, 2, 28, 28), 5),
        (Modality.AUDIO, (2, 1, 128, 204), 1 + 12 * 19),
        (Modality.DEPTH, (2, 1, 32, 32), 5),
        (Modality.THERMAL, (2, 1, 32, 32), 5),
        (Modality.IMU, (2, 6, 2000), 251),
        (Modality.POINTS, (2, 40, 3), 9),
        (Modality.TEXT, (2, 77), 77),
    ],
    "languagebind": [
        (Modality.IMAGE, (2, 3, 28, 28), 5),
        (Modality.VIDEO, (2, 3, 3, 28, 28), 15),
        (Modality.TEXT, (2, 77), 77),
    ],
}


def drawn(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not name.endswith("mask"):
            tensor.normal_(std=0.2)
            tensor.abs_() if name.endswith("running_var") else None
    return model


@pytest.fixture(scope="module", params=list(READ))
def encoder(request: pytest.FixtureRequest) -> tuple[str, TokenEncoder]:
    made: nn.Module = (
        ImageBind(IMAGEBIND, variant="pandagpt", device="cpu")
        if request.param == "imagebind"
        else LanguageBind(LANGUAGEBIND, device="cpu")
    )
    for module in made.modules():
        if isinstance(mask := getattr(module, "mask", None), torch.Tensor):
            mask.copy_(torch.full_like(mask, float("-inf")).triu(1))
    return request.param, drawn(made)  # type: ignore[misc]  # both are token encoders


def clips_of(modality: Modality, shape: tuple[int, ...]) -> torch.Tensor:
    chance = torch.Generator().manual_seed(1)
    if modality != Modality.TEXT:
        return torch.randn(shape, generator=chance)
    ids = torch.zeros(shape, dtype=torch.long)
    ids[0, :4], ids[1, :6] = torch.tensor([5, 6, 7, 63]), torch.tensor([5, 1, 2, 3, 4, 63])
    return ids


def test_the_tokens_come_beside_the_embedding_that_encode_gives(encoder: tuple[str, TokenEncoder]) -> None:
    kind, model = encoder
    for modality, shape, count in READ[kind]:
        clips = clips_of(modality, shape)
        seen = model.with_tokens(modality, clips)
        assert torch.equal(seen.vectors, model.encode(modality, clips)), modality
        assert seen.tokens.shape == (2, count, model.token_widths[model.tower_of(modality)]), modality
        ends = None if seen.keep is None else seen.keep.sum(dim=1).tolist()
        assert ends == ([4, 6] if modality == Modality.TEXT else None)


def test_a_modality_without_a_tower_has_no_tokens() -> None:
    model = ImageBind(IMAGEBIND, variant="pandagpt", towers=["vision"], device="cpu")
    assert model.token_widths == {"vision": 16}
    with pytest.raises(UnsupportedModality, match="no tower for audio"):
        model.with_tokens(Modality.AUDIO, torch.zeros(1, 1, 128, 204))
