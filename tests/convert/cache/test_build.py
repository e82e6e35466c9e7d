"""`pandagpt cache build`: rows by the model's own tower, resumed after a stop, used by both systems."""

import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pandagpt_core.checkpoints import ModelFolder, file_digest, read_model_folder, verify_files
from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt
from pandagpt_core.convert.cache import picture_list
from pandagpt_core.convert.cache.build import NAMES, PARTIAL, build_cache
from pandagpt_core.convert.cache.picture_list import write_sorted
from pandagpt_core.encoders.base import Encoder
from pandagpt_core.errors import CheckpointError
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.media import Limits, load
from pandagpt_core.systems.encoder import load_encoder
from pandagpt_core.types import Conversation, MediaUse, Modality, OptionValue, SamplingParams, Turn
from service import cli
from tests.parity.bind_tiny import SIZES, imagebind_w3d
from tests.soft_tokens import with_soft_tokens

COUNT = 7


@pytest.fixture(scope="module")
def original(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models")
    tiny = golden / "pandagpt-tiny"
    files = PandaGPTOriginals(
        imagebind_w3d(golden, out), tiny / "vicuna_tiny", tiny / "pandagpt_ckpt" / "pytorch_model.pt"
    )
    convert_pandagpt(files, out / "tiny", PandaGPTOptions(model_id="tiny", sizes=SIZES))
    return out / "tiny"


@pytest.fixture
def model(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "tiny"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Pictures in folders, one of them damaged, beside a file of another kind."""
    folder = tmp_path / "images"
    for number in range(COUNT):
        path = folder / f"set{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(path)
    (folder / "set0" / "broken.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("none")
    return folder


def quiet(_done: int, _total: int) -> None:
    """No progress."""


def test_each_row_is_the_unit_embedding_of_its_picture(model: Path, images: Path) -> None:
    built = build_cache(model, images, batch=3, progress=quiet)
    assert (built.rows, built.skipped) == (COUNT, 1)
    folder = read_model_folder(model)
    assert folder.cache is not None
    assert (folder.cache.rows, folder.cache.size) == (COUNT, 0)
    verify_files(model, folder)
    names = (model / NAMES).read_text().splitlines()
    vectors = load_file(model / "cache.safetensors")["vectors"]
    runtime = load_model(model, RuntimeOptions(dtype="float32", runner="torch"))
    for name, vector in zip(names, vectors, strict=True):
        array = load(runtime.info.recipes[Modality.IMAGE], (images / name).read_bytes(), {}, Limits())
        (row,) = runtime.encode(Modality.IMAGE, [array])
        torch.testing.assert_close(vector, torch.tensor(runtime.unit(Modality.IMAGE, row)), rtol=0, atol=1e-5)
    assert not (model / PARTIAL).exists()


class CountingTower:
    """Another encoder, and how many clips it encoded."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder, self.encoded = encoder, 0
        self.dim, self.recipes = encoder.dim, encoder.recipes

    def encode(self, modality: Modality, clips: torch.Tensor) -> torch.Tensor:
        self.encoded += len(clips)
        return self._encoder.encode(modality, clips)


def test_a_build_that_was_stopped_goes_on_and_gives_the_same_cache(model: Path, images: Path, tmp_path: Path) -> None:
    whole = Path(shutil.copytree(model, tmp_path / "whole"))
    build_cache(whole, images, batch=2, progress=quiet)

    def stop(done: int, _total: int) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_cache(model, images, batch=2, progress=stop)
    partial = model / PARTIAL
    with (partial / "vectors.f32").open("ab") as vectors:
        vectors.write(bytes(100))  # as a crash leaves it: rows of no picture
    towers: list[CountingTower] = []

    def counting(model: Path, folder: ModelFolder, device: str) -> CountingTower:
        towers.append(CountingTower(load_encoder(model, folder, device)))
        return towers[-1]

    build_cache(model, images, batch=2, progress=quiet, open_tower=counting)
    assert 0 < sum(tower.encoded for tower in towers) < COUNT
    assert (model / NAMES).read_text() == (whole / NAMES).read_text()
    assert torch.equal(*(load_file(path / "cache.safetensors")["vectors"] for path in (model, whole)))


def test_work_that_was_begun_with_other_pictures_is_not_mixed(model: Path, images: Path) -> None:
    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_cache(model, images, batch=2, progress=stop)
    (images / "set0" / "0.png").rename(images / "set0" / "00.png")
    with pytest.raises(CheckpointError, match="other pictures"):
        build_cache(model, images, batch=2, progress=quiet)


def test_a_folder_with_several_soft_tokens_gets_no_cache(original: Path, images: Path, tmp_path: Path) -> None:
    soft = with_soft_tokens(original, tmp_path / "soft")
    with pytest.raises(CheckpointError, match="soft has soft_tokens"):
        build_cache(soft, images, progress=quiet)
    assert not (soft / PARTIAL).exists()


def test_what_cannot_be_built_is_refused(model: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(CheckpointError, match="no pictures"):
        build_cache(model, tmp_path / "none", progress=quiet)
    build_cache(model, images, progress=quiet)
    with pytest.raises(CheckpointError, match="7 rows already"):
        build_cache(model, images, progress=quiet)


def test_the_command_builds_and_a_pandagpt_folder_uses_the_cache_when_asked(
    model: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["cache", "build", "--model", str(model), "--images", str(images)]) == 0
    assert "a cache of 7 image features; 1 pictures were not readable" in capsys.readouterr().out
    runtime = load_model(model, RuntimeOptions(dtype="float32", runner="torch"))
    assert [option.name for option in runtime.info.options] == [
        "cache_size",
        "cache_t",
        "cache_weight",
        "cache_details",
    ]
    row = np.random.default_rng(5).normal(size=(1, 32)).astype(np.float32) * 4

    def answer(**options: OptionValue) -> tuple[list[int], object]:
        asked = Conversation((Turn("user", "What is it?"),), (MediaUse(Modality.AUDIO, "a", 0),), options)
        params = SamplingParams(max_tokens=12, temperature=0.0, ignore_eos=True)
        fields = runtime.admit(SequenceRequest("a", asked, [row], params)).fields
        outputs = []
        while runtime.has_work:
            outputs += runtime.step()
        return [output.token_id for output in outputs], fields

    plain, fields = answer()
    assert fields is None
    assert answer(cache_size=0, cache_details=True) == (plain, None)
    used, fields = answer(cache_size=2, cache_weight=1.0, cache_details=True)
    assert used != plain
    unit = torch.nn.functional.normalize(torch.tensor(row[0]), dim=-1)
    best = (load_file(model / "cache.safetensors")["vectors"] @ unit).topk(2).indices.tolist()
    assert fields["cache"][0]["rows"] == best


def test_config_says_where_the_cache_is_only_when_it_is_whole(model: Path, images: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_cache(model, images, progress=stop)
    assert json.loads((model / "config.json").read_text())["cache"] is None
    assert load_model(model, RuntimeOptions(dtype="float32", runner="torch")).info.options == ()


def test_any_name_of_a_picture_is_kept_as_it_is(model: Path, tmp_path: Path) -> None:
    names = ["-1.png", "a b/\u2028.PNG", "a/ü.png", "z.jpeg"]
    for number, name in enumerate(names):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (60 * number, 0, 0)).save(path, "png")
    assert build_cache(model, tmp_path / "images", batch=3, progress=quiet).rows == len(names)
    assert (model / NAMES).read_text().removesuffix("\n").split("\n") == sorted(names)


@pytest.mark.parametrize("name", [b"a\nb.png", b"\xff.png"])
def test_a_name_that_is_no_line_of_text_is_refused_before_any_work(model: Path, images: Path, name: bytes) -> None:
    path = os.fsencode(images) + b"/" + name
    try:
        with open(path, "wb"):
            pass
    except OSError:
        pytest.skip("this file system takes no such name")
    with pytest.raises(CheckpointError, match="rename the picture"):
        build_cache(model, images, progress=quiet)
    assert not (model / PARTIAL).exists()


def test_a_system_without_a_shared_space_gets_no_cache(root: Path) -> None:
    with pytest.raises(CheckpointError, match="no shared space"):
        build_cache(root / "models" / "panda-locate", root / "samples", progress=quiet)


def test_names_are_sorted_on_disk_few_of_them_in_memory(tmp_path: Path) -> None:
    count = 60_000
    names = (f"folder{number % 97}/a picture of {number * 7919 % count:08}.png" for number in range(count))
    tracemalloc.start()
    try:
        digest = write_sorted(names, tmp_path / "names", run=1000, merged=7)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (tmp_path / "names").stat().st_size / 2
    assert digest == file_digest(tmp_path / "names")
    found = list(picture_list.lines(tmp_path / "names"))
    assert len(set(found)) == count
    assert found == sorted(found)
    assert list(tmp_path.iterdir()) == [tmp_path / "names"]


# Rows of 256 KB each, so that few pictures make more of them than the process may have. RLIMIT_DATA counts what is
# private and may be written, as vectors in memory are.
BUILD = """
import json, re, resource, sys
from pathlib import Path
import torch
from pandagpt_core.convert.cache.build import build_cache, encoder_width
from pandagpt_core.checkpoints import read_model_folder
model, images, spare = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
width = encoder_width(model, read_model_folder(model))
class Wide:
    dim = width
    def encode(self, modality, clips):
        return clips.flatten(1)[:, :1].abs() + torch.ones(len(clips), width)
def limited(*_):
    used = 1024 * int(re.search(r"VmData:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
    resource.setrlimit(resource.RLIMIT_DATA, (used + spare, used + spare))
    return Wide()
print(build_cache(model, images, batch=8, progress=lambda done, total: None, open_tower=limited).rows)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its memory from Linux's /proc")
@pytest.mark.parametrize("spare", [96 << 20, 16 << 20])
def test_a_cache_larger_than_the_memory_that_is_allowed_is_built(model: Path, tmp_path: Path, spare: int) -> None:
    """The second limit, below what one batch takes, shows that the first is one."""
    width, pictures = 65_536, 800
    said = json.loads((model / "config.json").read_text())
    said["encoder"]["sizes"]["out"] = width
    (model / "config.json").write_text(json.dumps(said))
    (tmp_path / "images").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "images" / "0.png")
    for number in range(1, pictures):
        (tmp_path / "images" / f"{number}.png").hardlink_to(tmp_path / "images" / "0.png")
    command = [sys.executable, "-c", BUILD, str(model), str(tmp_path / "images"), str(spare)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=240)
    if spare < 32 << 20:
        assert finished.returncode != 0
        return
    assert finished.stdout == f"{pictures}\n", finished.stderr
    assert (model / "cache.safetensors").stat().st_size > 2 * spare
    assert load_file(model / "cache.safetensors")["vectors"].shape == (pictures, width)
