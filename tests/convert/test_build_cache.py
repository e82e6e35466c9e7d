"""`pandagpt cache build`: rows by the model's own tower, resumed after a stop, used by both systems."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pandagpt_core.checkpoints import read_model_folder, verify_files
from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt
from pandagpt_core.convert import build_cache as building
from pandagpt_core.convert.build_cache import NAMES, PARTIAL, build_cache
from pandagpt_core.encoders.base import Encoder
from pandagpt_core.errors import CheckpointError
from pandagpt_core.media import Limits, load
from pandagpt_core.runtime import Runtime, SequenceRequest
from pandagpt_core.types import Conversation, MediaUse, Modality, OptionValue, SamplingParams, Turn
from service import cli
from tests.parity.bind_tiny import SIZES, imagebind_w3d

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
    runtime = Runtime.load(model, dtype="float32", runner="torch")
    for name, vector in zip(names, vectors, strict=True):
        array = load(runtime.info.recipes[Modality.IMAGE], (images / name).read_bytes(), {}, Limits())
        (row,) = runtime.encode(Modality.IMAGE, [array])
        torch.testing.assert_close(vector, torch.tensor(runtime.unit(Modality.IMAGE, row)), rtol=0, atol=1e-5)
    assert not (model / PARTIAL).exists()


def test_a_build_that_was_stopped_goes_on_and_gives_the_same_cache(
    model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path(shutil.copytree(model, tmp_path / "whole"))
    build_cache(whole, images, batch=2, progress=quiet)

    def stop(done: int, _total: int) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_cache(model, images, batch=2, progress=stop)
    partial = model / PARTIAL
    with (partial / "vectors.f32").open("ab") as vectors, (partial / "pictures.txt").open("ab") as lines:
        vectors.write(bytes(100))  # as a crash leaves them: rows without a line, and half a line
        lines.write(b"set0/hal")
    encoded: list[int] = []
    real = building.encode_items

    def counting(encoder: Encoder, modality: Modality, arrays: Sequence[np.ndarray], device: str) -> torch.Tensor:
        encoded.append(len(arrays))
        return real(encoder, modality, arrays, device)

    monkeypatch.setattr(building, "encode_items", counting)
    build_cache(model, images, batch=2, progress=quiet)
    assert sum(encoded) < COUNT
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
    runtime = Runtime.load(model, dtype="float32", runner="torch")
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
    assert Runtime.load(model, dtype="float32", runner="torch").info.options == ()
