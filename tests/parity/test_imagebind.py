"""ImageBind's towers against vectors that the original implementation and PandaGPT's copy of it gave."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pandagpt_core.checkpoints import account, load_module, module_shapes
from pandagpt_core.encoders.imagebind import ImageBind, Variant
from pandagpt_core.encoders.sizes import HUGE, TOWER_OF
from pandagpt_core.types import Modality
from tests.golden import imagebind_sizes

CASES = {
    "vision_image": Modality.IMAGE,
    "vision_image_168": Modality.IMAGE,
    "vision_video": Modality.VIDEO,
    "audio": Modality.AUDIO,
    "audio_single_clip": Modality.AUDIO,
    "depth": Modality.DEPTH,
    "thermal": Modality.THERMAL,
    "imu": Modality.IMU,
    "text": Modality.TEXT,
}
HEAD_TOLERANCE = 1e-5
RELATIVE_TOLERANCE = 2e-5
IN_CLIPS = {"vision_video", "audio"}  # inputs of [B, S, ...]; the result is the mean over S


def tiny(folder: Path, variant: Variant) -> ImageBind:
    model = ImageBind(imagebind_sizes(folder.parent), variant=variant)
    load_module(model, folder / "weights.safetensors")
    return model


@pytest.fixture(scope="module")
def folder(golden: Path) -> Path:
    return golden / "imagebind-tiny"


@pytest.fixture(scope="module")
def model(folder: Path) -> ImageBind:
    return tiny(folder, "imagebind")


@pytest.fixture(scope="module")
def vectors(folder: Path) -> dict[str, torch.Tensor]:
    scale = json.loads((folder / "config.json").read_text())["input_scale"]
    vectors = load_file(folder / "cases.safetensors")
    if "audio/input" in vectors:
        vectors["audio_single_clip/input"] = vectors["audio/input"][:, 0]
    return {name: tensor.float() * scale if tensor.dtype == torch.int8 else tensor for name, tensor in vectors.items()}


def clips_of(vectors: dict[str, torch.Tensor], case: str) -> torch.Tensor:
    if f"{case}/input" not in vectors:
        pytest.skip(f"no case {case} among these vectors")
    given = vectors[f"{case}/input"]
    return given.flatten(0, 1) if case in IN_CLIPS else given


def item_means(vectors: dict[str, torch.Tensor], case: str, embedded: torch.Tensor) -> torch.Tensor:
    given = vectors[f"{case}/input"]
    return embedded.unflatten(0, given.shape[:2]).mean(dim=1) if case in IN_CLIPS else embedded


def assert_near(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * max(1.0, float(expected.abs().max())))


@pytest.mark.parametrize("case", CASES)
@torch.inference_mode()
def test_every_stage_of_a_tower_gives_the_originals_values(
    model: ImageBind, vectors: dict[str, torch.Tensor], case: str
) -> None:
    tower = TOWER_OF[CASES[case]]
    clips = clips_of(vectors, case)
    tokens = model.tokens(tower, clips)
    assert_near(tokens[:1, :3], vectors[f"{case}/tokens"], RELATIVE_TOLERANCE)
    x = model.trunk(tower, tokens)
    assert_near(x[:1, :3], vectors[f"{case}/trunk"], RELATIVE_TOLERANCE)
    head = model.head(tower, model.pool(tower, clips, x))
    torch.testing.assert_close(head, vectors[f"{case}/head"], rtol=0, atol=HEAD_TOLERANCE)
    assert_near(model.post(tower, head), vectors[f"{case}/post"], RELATIVE_TOLERANCE)


@pytest.mark.parametrize("case", CASES)
def test_embeddings_are_the_originals(model: ImageBind, vectors: dict[str, torch.Tensor], case: str) -> None:
    embedded = model.encode(CASES[case], clips_of(vectors, case))
    assert_near(item_means(vectors, case, embedded), vectors[f"{case}/out"], RELATIVE_TOLERANCE)


@pytest.mark.parametrize("case", [case for case in CASES if case != "audio_single_clip"])
def test_embeddings_of_the_pandagpt_variant_are_its_copys(
    folder: Path, vectors: dict[str, torch.Tensor], case: str
) -> None:
    expected = load_file(folder / "cases_pandagpt_fork.safetensors")
    embedded = tiny(folder, "pandagpt").encode(CASES[case], clips_of(vectors, case))
    assert_near(item_means(vectors, case, embedded), expected[f"{case}/out"], RELATIVE_TOLERANCE)


@pytest.mark.parametrize("case", [case for case in CASES if case != "vision_image_168"])
def test_a_batch_gives_what_each_clip_gives_alone(
    model: ImageBind, vectors: dict[str, torch.Tensor], case: str
) -> None:
    clips = clips_of(vectors, case)
    batch = torch.cat([clips, clips.flip(0)])
    alone = torch.cat([model.encode(CASES[case], clip[None]) for clip in batch])
    assert_near(model.encode(CASES[case], batch), alone, 1e-6)


def test_the_full_size_model_has_the_released_checkpoints_keys_and_shapes(golden: Path) -> None:
    table = json.loads((golden / "full-size-keys" / "imagebind_huge.json").read_text())
    released = {key: tuple(shape) for key, shape in table["keys"].items()}
    model = ImageBind(HUGE, variant="imagebind")
    account("imagebind_huge.pth", module_shapes(model), released)
    assert sum(tensor.numel() for tensor in model.state_dict().values()) == table["meta"]["elements"]


def test_a_model_of_some_towers_takes_the_whole_checkpoint_with_equal_values(
    folder: Path, vectors: dict[str, torch.Tensor]
) -> None:
    model = ImageBind(imagebind_sizes(folder.parent), variant="imagebind", towers=["imu"])
    load_module(model, folder / "weights.safetensors", unused=model.is_unbuilt)
    assert_near(model.encode(Modality.IMU, vectors["imu/input"]), vectors["imu/out"], RELATIVE_TOLERANCE)
    assert list(model.recipes) == [Modality.IMU]


def test_half_precision_moves_embeddings_by_no_more_than_its_rounding(
    folder: Path, vectors: dict[str, torch.Tensor]
) -> None:
    model = ImageBind(imagebind_sizes(folder.parent), variant="imagebind")
    load_module(model, folder / "weights.safetensors", dtype=torch.bfloat16)
    for case in ("vision_image", "depth", "imu"):
        embedded = model.encode(CASES[case], clips_of(vectors, case))
        expected = vectors[f"{case}/out"]
        assert embedded.dtype == torch.float32
        assert torch.cosine_similarity(embedded, expected).min() > 0.995
        torch.testing.assert_close(embedded.norm(dim=-1), expected.norm(dim=-1), rtol=1e-4, atol=0)
