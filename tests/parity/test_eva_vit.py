"""EVA ViT as MiniGPT-v2 reads it against the original's own run: positions, blocks, `ln_vision`, the projected rows."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from safetensors.torch import load_file

from pandagpt_core.encoders.eva_vit import EvaVit, interpolate_positions
from pandagpt_core.media import Limits, load
from pandagpt_core.media.pictures.image import eva_array
from pandagpt_core.media.pictures.pixels import open_picture
from pandagpt_core.types import Modality
from tests.golden import cases as cases_of
from tests.golden import eva_sizes, read, tensors
from tests.parity.minigpt_tiny import PART, Golden

ROWS, FROM_JPEG = 2e-5, 2e-3  # the golden set's own tolerances
PICTURES = cases_of(PART, "preprocess")
ENCODED = tensors(PART, "encode_img/(.+)")


@pytest.fixture(scope="module")
def given(golden: Path) -> Golden:
    return Golden.read(golden)


@pytest.fixture(scope="module")
def cases(given: Golden) -> Mapping[str, torch.Tensor]:
    return given.tensors


@pytest.fixture(scope="module")
def weights(given: Golden) -> dict[str, torch.Tensor]:
    return load_file(given.folder / "weights.safetensors")


@pytest.fixture(scope="module")
def vit(golden: Path, weights: dict[str, torch.Tensor]) -> EvaVit:
    model = EvaVit(eva_sizes(golden))
    own = {key.removeprefix("visual_encoder."): value for key, value in weights.items() if key.startswith("visual_")}
    own |= {key: value for key, value in weights.items() if key.startswith("ln_vision.")}
    model.load_state_dict(own, strict=True, assign=True)
    return model.requires_grad_(False)


def projected(rows: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.nn.functional.linear(rows, weights["llama_proj.weight"], weights["llama_proj.bias"])


def test_positions_of_224_pixels_become_those_of_448(golden: Path, cases: Mapping[str, torch.Tensor]) -> None:
    found = interpolate_positions(cases["pos_embed/checkpoint_224"], eva_sizes(golden).patches)
    torch.testing.assert_close(found, cases["pos_embed/expected_448"], atol=1e-6, rtol=0)


def test_the_last_block_gives_what_the_original_gives(vit: EvaVit, cases: Mapping[str, torch.Tensor]) -> None:
    features = vit.features(cases["vit/input"].float() * read(PART)["input_scale"])[:, :5]
    torch.testing.assert_close(features, cases["vit/out_first5"], atol=ROWS, rtol=0)
    torch.testing.assert_close(vit.ln_vision(features), cases["vit/ln_first5"], atol=ROWS, rtol=0)


def test_four_neighbours_make_a_row(
    golden: Path, vit: EvaVit, cases: Mapping[str, torch.Tensor], weights: dict[str, torch.Tensor]
) -> None:
    rows = vit.encode(Modality.IMAGE, cases["vit/input"].float() * read(PART)["input_scale"])
    sizes = eva_sizes(golden)
    assert rows.shape == (1, sizes.rows, sizes.row_width)
    torch.testing.assert_close(projected(rows, weights), cases["vit/llama_proj"], atol=ROWS, rtol=0)


@pytest.mark.parametrize("name", ENCODED)
def test_a_file_becomes_the_rows_of_the_original(
    vit: EvaVit, given: Golden, weights: dict[str, torch.Tensor], name: str
) -> None:
    array = load("eva-image-v1", given.picture(name), {}, Limits())
    rows = vit.encode(Modality.IMAGE, torch.from_numpy(array))
    expected = given.tensors[f"encode_img/{name}"]
    torch.testing.assert_close(projected(rows, weights), expected, atol=FROM_JPEG, rtol=0)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_becomes_the_array_of_the_original_but_for_a_turn(name: str, given: Golden, vit: EvaVit) -> None:
    """The original ignores the turn that a camera writes into a file's EXIF; ours follows it."""
    data, side = given.picture(name), vit.sizes.image
    array = load("eva-image-v1", data, {}, Limits())
    assert array.shape == (1, 3, side, side)
    if Image.open(io.BytesIO(data)).getexif().get(ExifTags.Base.Orientation, 1) != 1:
        as_stored = eva_array(open_picture(data, Limits()))
        assert np.abs(array - as_stored).max() > 0.1
        array = as_stored
    at, value = (given.tensors[f"preprocess/{name}/{part}"].numpy() for part in ("idx", "val"))
    np.testing.assert_allclose(array.reshape(-1)[at], value, atol=ROWS, rtol=0)
