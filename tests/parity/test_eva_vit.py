"""EVA ViT as MiniGPT-v2 reads it against the original's own run: positions, blocks, `ln_vision`, the projected rows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pandagpt_core.encoders.eva_vit import EvaVit, interpolate_positions
from pandagpt_core.media import Limits, load
from pandagpt_core.media.pictures.image import eva_array
from pandagpt_core.media.pictures.pixels import open_picture
from pandagpt_core.types import Modality
from tests.golden import cases as cases_of
from tests.golden import eva_sizes, medium, read

ROWS, FROM_JPEG = 2e-5, 2e-3  # the golden set's own tolerances
TURNED = "exif_rotated.jpg"
PICTURES = cases_of("minigpt-v2-tiny", "preprocess", without=(TURNED,))


@pytest.fixture(scope="module")
def tiny(golden: Path) -> Path:
    return golden / "minigpt-v2-tiny"


@pytest.fixture(scope="module")
def cases(tiny: Path) -> dict[str, torch.Tensor]:
    return load_file(tiny / "cases.safetensors")


@pytest.fixture(scope="module")
def said(tiny: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((tiny / "cases.json").read_text())
    return told


@pytest.fixture(scope="module")
def weights(tiny: Path) -> dict[str, torch.Tensor]:
    return load_file(tiny / "weights.safetensors")


@pytest.fixture(scope="module")
def vit(golden: Path, weights: dict[str, torch.Tensor]) -> EvaVit:
    model = EvaVit(eva_sizes(golden))
    own = {key.removeprefix("visual_encoder."): value for key, value in weights.items() if key.startswith("visual_")}
    own |= {key: value for key, value in weights.items() if key.startswith("ln_vision.")}
    model.load_state_dict(own, strict=True, assign=True)
    return model.requires_grad_(False)


def projected(rows: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.nn.functional.linear(rows, weights["llama_proj.weight"], weights["llama_proj.bias"])


def test_positions_of_224_pixels_become_those_of_448(golden: Path, cases: dict[str, torch.Tensor]) -> None:
    found = interpolate_positions(cases["pos_embed/checkpoint_224"], eva_sizes(golden).patches)
    torch.testing.assert_close(found, cases["pos_embed/expected_448"], atol=1e-6, rtol=0)


def test_the_last_block_gives_what_the_original_gives(vit: EvaVit, cases: dict[str, torch.Tensor]) -> None:
    features = vit.features(cases["vit/input"].float() * read("minigpt-v2-tiny")["input_scale"])[:, :5]
    torch.testing.assert_close(features, cases["vit/out_first5"], atol=ROWS, rtol=0)
    torch.testing.assert_close(vit.ln_vision(features), cases["vit/ln_first5"], atol=ROWS, rtol=0)


def test_four_neighbours_make_a_row(
    golden: Path, vit: EvaVit, cases: dict[str, torch.Tensor], weights: dict[str, torch.Tensor]
) -> None:
    rows = vit.encode(Modality.IMAGE, cases["vit/input"].float() * read("minigpt-v2-tiny")["input_scale"])
    sizes = eva_sizes(golden)
    assert rows.shape == (1, sizes.rows, sizes.row_width)
    torch.testing.assert_close(projected(rows, weights), cases["vit/llama_proj"], atol=ROWS, rtol=0)


def test_a_file_becomes_the_rows_of_the_original(
    vit: EvaVit, cases: dict[str, torch.Tensor], weights: dict[str, torch.Tensor], tiny: Path
) -> None:
    array = load("eva-image-v1", medium(tiny / "media" / "office.jpg"), {}, Limits())
    rows = vit.encode(Modality.IMAGE, torch.from_numpy(array))
    torch.testing.assert_close(projected(rows, weights), cases["encode_img/office.jpg"], atol=FROM_JPEG, rtol=0)


def test_every_picture_of_the_vectors_is_tested(said: dict[str, Any]) -> None:
    assert sorted(said["preprocess"]) == sorted((*PICTURES, TURNED))


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_becomes_the_array_of_the_original(
    name: str, cases: dict[str, torch.Tensor], said: dict[str, Any], tiny: Path
) -> None:
    array = load("eva-image-v1", (tiny / said["preprocess"][name]["path"]).read_bytes(), {}, Limits())
    assert array.shape == (1, 3, 448, 448)
    at, value = (cases[f"preprocess/{name}/{part}"].numpy() for part in ("idx", "val"))
    np.testing.assert_allclose(array.reshape(-1)[at], value, atol=ROWS, rtol=0)


def test_a_turned_picture_is_the_originals_but_for_the_turn(
    cases: dict[str, torch.Tensor], said: dict[str, Any], tiny: Path
) -> None:
    data = (tiny / said["preprocess"][TURNED]["path"]).read_bytes()
    at, value = (cases[f"preprocess/{TURNED}/{part}"].numpy() for part in ("idx", "val"))
    as_stored = eva_array(open_picture(data, Limits()))
    np.testing.assert_allclose(as_stored.reshape(-1)[at], value, atol=ROWS, rtol=0)
    assert np.abs(load("eva-image-v1", data, {}, Limits()) - as_stored).max() > 0.1
