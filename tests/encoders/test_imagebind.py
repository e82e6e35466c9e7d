"""ImageBind's towers without a checkpoint: inputs, refusals, and the built towers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pandagpt_core import media
from pandagpt_core.encoders.base import Encoder, encode_items
from pandagpt_core.encoders.imagebind import ImageBind, Variant
from pandagpt_core.encoders.sizes import HUGE, RECIPES, TOWERS, ImageBindSizes, TowerSize
from pandagpt_core.encoders.stems import cut
from pandagpt_core.errors import CheckpointError, InvalidMedia, UnsupportedModality
from pandagpt_core.types import Modality

SIZES = ImageBindSizes(**{name: TowerSize(16, 1, 2) for name in TOWERS}, out=8, vocab=64)
SHAPES = {
    Modality.IMAGE: (3, 224, 224),
    Modality.VIDEO: (3, 2, 224, 224),
    Modality.AUDIO: (1, 128, 204),
    Modality.DEPTH: (1, 224, 224),
    Modality.THERMAL: (1, 224, 224),
    Modality.IMU: (6, 2000),
}


def small(variant: Variant = "imagebind", towers: tuple[str, ...] = TOWERS) -> ImageBind:
    """A model of random weights."""
    model = ImageBind(SIZES, variant=variant, towers=towers, device="cpu")
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            tensor.normal_(generator=generator).mul_(0.2).add_(1.0 if "norm" in key else 0.0)
            if key.endswith("text.mask"):
                tensor.copy_(torch.full_like(tensor, -torch.inf).triu(1))
    return model


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_a_model_is_an_encoder_with_a_recipe_for_each_modality() -> None:
    encoder: Encoder = ImageBind(SIZES, variant="pandagpt")
    assert encoder.recipes == {name: recipe for name, recipe in RECIPES.items() if name != Modality.POINTS}
    assert encoder.recipes.keys() == set(Modality) - {Modality.POINTS}
    assert encoder.dim == 8


@pytest.mark.parametrize("modality", SHAPES)
def test_every_modality_gives_unit_vectors_times_its_scale(modality: Modality) -> None:
    model = small()
    embedded = model.encode(modality, noise(2, *SHAPES[modality]))
    scale = {key: float(tensor.exp()) for key, tensor in model.state_dict().items() if "log_logit" in key}
    expected = scale.get(f"modality_postprocessors.{modality}.1.log_logit_scale", 1.0)
    torch.testing.assert_close(embedded.norm(dim=-1), torch.full((2,), expected))


def test_the_pandagpt_variant_scales_no_audio() -> None:
    embedded = small("pandagpt").encode(Modality.AUDIO, noise(2, *SHAPES[Modality.AUDIO]))
    torch.testing.assert_close(embedded.norm(dim=-1), torch.ones(2))


def test_a_still_is_a_clip_of_two_equal_frames() -> None:
    model = small()
    still = noise(1, *SHAPES[Modality.IMAGE])
    clip = torch.stack([still, still], dim=2)
    torch.testing.assert_close(model.encode(Modality.IMAGE, still), model.encode(Modality.VIDEO, clip))


def test_text_is_read_at_its_highest_id_and_sees_nothing_later() -> None:
    model = small()
    ids = torch.zeros(2, 77, dtype=torch.int64)
    ids[:, :4] = torch.tensor([60, 5, 6, 63])
    ids[1, 10] = 9  # behind the end mark
    embedded = model.encode(Modality.TEXT, ids)
    torch.testing.assert_close(embedded[0], embedded[1])
    ids[1, 1] = 9
    assert not torch.allclose(embedded[0], model.encode(Modality.TEXT, ids)[1], atol=1e-3)


def test_items_of_several_clips_are_the_means_of_their_clips() -> None:
    model = small()
    items = [noise(count, *SHAPES[Modality.AUDIO]).numpy() for count in (3, 1)]
    embedded = encode_items(model, Modality.AUDIO, items, "cpu")
    clips = model.encode(Modality.AUDIO, torch.from_numpy(np.concatenate(items)))
    torch.testing.assert_close(embedded, torch.stack([clips[:3].mean(dim=0), clips[3]]))


@pytest.mark.parametrize("stride", [(16, 16), (10, 10)])
def test_patches_times_a_matrix_are_the_convolution(stride: tuple[int, int]) -> None:
    x, kernel = noise(2, 3, 64, 57), noise(5, 3, 16, 16)
    found = F.linear(cut(x, (16, 16), stride).flatten(3), kernel.flatten(1))
    torch.testing.assert_close(found.permute(0, 3, 1, 2), F.conv2d(x, kernel, stride=stride), rtol=1e-4, atol=1e-4)


def test_square_pictures_of_another_size_are_taken_and_oblong_ones_refused() -> None:
    model = small()
    assert model.encode(Modality.IMAGE, noise(1, 3, 112, 112)).shape == (1, 8)
    assert model.encode(Modality.DEPTH, noise(1, 1, 320, 320)).shape == (1, 8)
    with pytest.raises(InvalidMedia, match=r"\(8, 16\) patches"):
        model.encode(Modality.IMAGE, noise(1, 3, 112, 224))


@pytest.mark.parametrize(
    ("modality", "shape"),
    [
        (Modality.IMAGE, (1, 1, 224, 224)),
        (Modality.VIDEO, (1, 3, 3, 224, 224)),
        (Modality.AUDIO, (1, 128, 204)),
        (Modality.AUDIO, (1, 1, 128, 304)),
        (Modality.THERMAL, (1, 1, 8, 8)),
        (Modality.IMU, (1, 6, 1000)),
    ],
)
def test_arrays_of_another_shape_are_refused(modality: Modality, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidMedia):
        small().encode(modality, noise(*shape))


def test_texts_of_another_length_are_refused() -> None:
    with pytest.raises(InvalidMedia, match="77"):
        small().encode(Modality.TEXT, torch.zeros(1, 76, dtype=torch.int64))


def test_token_ids_beyond_the_vocabulary_are_refused() -> None:
    with pytest.raises(InvalidMedia, match="0 to 63"):
        small().encode(Modality.TEXT, torch.full((1, 77), 64))


def test_a_tower_that_was_not_built_has_no_weights_no_recipe_and_no_answer() -> None:
    model = small(towers=("vision", "text"))
    assert set(model.recipes) == {Modality.IMAGE, Modality.VIDEO, Modality.TEXT}
    assert model.is_unbuilt("modality_heads.audio.0.weight")
    assert not model.is_unbuilt("modality_heads.text.proj.0.weight")
    assert not model.is_unbuilt("modality_heads.smell.0.weight")
    assert not any(model.is_unbuilt(key) for key in model.state_dict())
    with pytest.raises(UnsupportedModality, match="audio"):
        model.encode(Modality.AUDIO, noise(1, *SHAPES[Modality.AUDIO]))


def test_the_full_size_model_takes_no_memory_before_it_is_loaded() -> None:
    model = ImageBind(HUGE, variant="pandagpt")
    assert all(tensor.is_meta for tensor in model.state_dict().values())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_sizes_survive_a_config_file_and_mistakes_do_not() -> None:
    assert ImageBindSizes.from_config(HUGE.to_config()) == HUGE
    for change in ({"smell": {}}, {"out": 0}, {"imu": {"width": 10, "blocks": 1, "heads": 3}}):
        with pytest.raises(CheckpointError, match="ImageBind's sizes"):
            ImageBindSizes.from_config(HUGE.to_config() | change)


def test_recipes_are_ones_that_the_media_room_has() -> None:
    assert set(RECIPES.values()) <= set(media.RECIPES)
