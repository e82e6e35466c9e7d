"""Point-Bind's encoder against vectors of the original implementation."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pandagpt_core.encoders.heads import Head, LogitScale, Unit
from pandagpt_core.encoders.points.encoder import PointTrunk, at_rows, farthest_points
from pandagpt_core.encoders.points.sizes import W3D
from tests.golden import point_size, read

FEATURES = 2e-5  # the golden set's tolerance
HEAD, POST = "modality_heads.point.", "modality_postprocessors.point."


@pytest.fixture(scope="module")
def folder(golden: Path) -> Path:
    return golden / "imagebind-llm-tiny"


@pytest.fixture(scope="module")
def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "point_weights.safetensors")


@pytest.fixture(scope="module")
def trunk(golden: Path, weights: dict[str, torch.Tensor]) -> PointTrunk:
    trunk = PointTrunk(point_size(golden))
    own = {key.removeprefix("point_trunk."): value for key, value in weights.items() if key.startswith("point_trunk.")}
    trunk.load_state_dict(own)
    return trunk.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def vectors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "cases.safetensors")


@pytest.fixture(scope="module")
def clouds(folder: Path) -> torch.Tensor:
    names = json.loads((folder / "cases.json").read_text())["point"]["files"]
    return torch.stack([torch.load(folder / "media" / name, weights_only=True) for name in names])


@pytest.fixture(scope="module")
def starts(folder: Path) -> torch.Tensor:
    return torch.tensor(json.loads((folder / "cases.json").read_text())["point"]["fps_start_index_batch2"])


def test_the_centres_are_the_originals(
    golden: Path, vectors: dict[str, torch.Tensor], clouds: torch.Tensor, starts: torch.Tensor
) -> None:
    assert torch.equal(
        at_rows(clouds, farthest_points(clouds, point_size(golden).groups, starts)), vectors["point/centers"]
    )


def test_every_stage_gives_the_originals_values(
    golden: Path,
    trunk: PointTrunk,
    weights: dict[str, torch.Tensor],
    vectors: dict[str, torch.Tensor],
    clouds: torch.Tensor,
    starts: torch.Tensor,
) -> None:
    encoded = trunk(clouds, starts)
    torch.testing.assert_close(encoded, vectors["point/trunk"], rtol=0, atol=FEATURES)
    head = Head(point_size(golden).projected, read("imagebind-llm-tiny")["imagebind_out_dim"], gap=1)
    head.load_state_dict({key.removeprefix(HEAD): value for key, value in weights.items() if key.startswith(HEAD)})
    prenorm = head(encoded)
    torch.testing.assert_close(prenorm, vectors["point/prenorm"], rtol=0, atol=FEATURES)
    scale = LogitScale(used=True)
    scale.load_state_dict({"log_logit_scale": weights[f"{POST}1.log_logit_scale"]})
    torch.testing.assert_close(scale(Unit()(prenorm)), vectors["point/out"], rtol=0, atol=FEATURES)


def test_a_batch_of_clouds_gives_what_each_gives_alone(
    trunk: PointTrunk, clouds: torch.Tensor, starts: torch.Tensor
) -> None:
    alone = torch.cat([trunk(cloud[None], start[None]) for cloud, start in zip(clouds, starts, strict=True)])
    torch.testing.assert_close(trunk(clouds, starts), alone, rtol=0, atol=1e-5)


def test_a_cloud_that_begins_with_the_start_needs_none(
    trunk: PointTrunk, clouds: torch.Tensor, starts: torch.Tensor
) -> None:
    rolled = torch.stack([cloud.roll(-int(start), 0) for cloud, start in zip(clouds, starts, strict=True)])
    torch.testing.assert_close(trunk(rolled), trunk(clouds, starts), rtol=0, atol=1e-5)


def test_the_full_size_encoder_has_the_released_checkpoints_keys_and_shapes(golden: Path) -> None:
    released = json.loads((golden / "full-size-keys" / "imagebind_w3d_point_keys.json").read_text())["keys"]
    with torch.device("meta"):
        found = {f"point_trunk.{key}": list(value.shape) for key, value in PointTrunk(W3D).state_dict().items()}
    assert found == {key: shape for key, shape in released.items() if key.startswith("point_trunk.")}
