"""The digest of an encoder's part for one modality: the content of the weights that the modality passes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from pandagpt_core.checkpoints import ENCODER, read_model_folder
from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.systems.encoder import load_encoder
from pandagpt_core.systems.tower_digests import tower_digests
from pandagpt_core.types import Modality
from tests.golden import imagebind_sizes
from tests.parity.bind_tiny import convert

SIX = {Modality(name) for name in ("image", "video", "text", "audio", "depth", "thermal", "imu")}


def digests(folder: Path) -> dict[Modality, str]:
    said = read_model_folder(folder)
    return tower_digests(folder, said, load_encoder(folder, said, "cpu"))


def differing(one: dict[Modality, str], other: dict[Modality, str]) -> set[str]:
    return {modality.value for modality in one.keys() | other.keys() if one.get(modality) != other.get(modality)}


@pytest.fixture
def mini(root: Path, tmp_path: Path) -> Path:
    """The small model's config and encoder alone."""
    for name in ("config.json", ENCODER):
        shutil.copy(root / "models" / "panda-mini" / name, tmp_path / name)
    return tmp_path


def change_weights(folder: Path, prefix: str) -> None:
    tensors = load_file(folder / ENCODER)
    key = next(key for key in sorted(tensors) if key.startswith(prefix) and tensors[key].is_floating_point())
    tensors[key] = tensors[key] + 1
    save_file(tensors, folder / ENCODER)


def change_config(folder: Path, change: Callable[[dict], None]) -> None:
    said = json.loads((folder / "config.json").read_text())
    change(said)
    (folder / "config.json").write_text(json.dumps(said))


@pytest.mark.parametrize(
    ("tower", "moved"),
    [
        ("text", {"text"}),
        ("depth", {"depth"}),
        ("things", {"image"}),
        ("image", {"image", "video", "depth", "thermal"}),  # maps are seen through the pictures' trunk
    ],
)
def test_changed_weights_rename_the_modalities_that_pass_them(mini: Path, tower: str, moved: set[str]) -> None:
    before = digests(mini)
    change_weights(mini, f"towers.{tower}.")
    assert differing(before, digests(mini)) == moved


def test_facts_that_no_shape_shows_are_part_of_the_name(mini: Path) -> None:
    before = digests(mini)

    def heads(said: dict) -> None:
        said["encoder"]["sizes"]["towers"]["text"]["heads"] = 3

    change_config(mini, heads)
    assert differing(before, digests(mini)) == {"text"}


def test_another_recipe_renames_its_modality(mini: Path) -> None:
    before = digests(mini)
    change_config(mini, lambda said: said["recipes"].update(audio="imagebind-audio-v1"))
    assert differing(before, digests(mini)) == {"audio"}


def test_a_folder_with_a_seventh_tower_shares_the_six(root: Path) -> None:
    """The committed pair: one encoder file, and a tower for point clouds beside it."""
    default, bind = (digests(root / "models" / name) for name in ("panda-mini", "panda-mini-bind"))
    assert differing(default, bind) == {"points"}
    assert set(default) == SIX


def test_two_checkpoints_with_equal_towers_share_them(golden: Path, tmp_path: Path) -> None:
    """`imagebind_huge.pth` and `imagebind_w3D.pth` are two files; ImageBind's own towers in them are equal."""
    with_points, _ = convert(golden, tmp_path)
    tiny = golden / "pandagpt-tiny"
    files = PandaGPTOriginals(
        golden / "imagebind-tiny" / "weights.safetensors",
        tiny / "vicuna_tiny",
        tiny / "pandagpt_ckpt" / "pytorch_model.pt",
    )
    options = PandaGPTOptions(model_id="tiny", sizes=imagebind_sizes(golden))
    convert_pandagpt(files, tmp_path / "six", options)
    one, other = digests(with_points), digests(tmp_path / "six")
    assert differing(one, other) == {"points"}
    info = load_model(with_points, RuntimeOptions(dtype="float32", runner="torch")).info
    assert {modality: info.digest_of(modality) for modality in info.recipes} == one


def test_image_and_video_of_imagebind_are_one_tower_with_two_recipes(golden: Path, tmp_path: Path) -> None:
    found = digests(convert(golden, tmp_path)[0])
    assert found[Modality.IMAGE] != found[Modality.VIDEO]
