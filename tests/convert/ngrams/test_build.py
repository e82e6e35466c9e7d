"""`pandagpt ngrams`: a folder gets a table of its own answers, which a worker drafts from and which changes none."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pandagpt_core.checkpoints import NGRAMS, read_model_folder, verify_files, write_safetensors
from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt
from pandagpt_core.convert.ngrams.build import build_ngrams, put_table
from pandagpt_core.convert.ngrams.conversations import self_asked
from pandagpt_core.convert.ngrams.counting import SEEN, count_ngrams
from pandagpt_core.engine.config import EngineConfig
from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.engine.speculation.ngram_table import LONGEST
from pandagpt_core.errors import CheckpointError, DigestMismatch
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.runtime import Runtime
from pandagpt_core.systems import LoadOptions, load_system
from pandagpt_core.types import Conversation, SamplingParams, Turn
from service import cli
from tests.engine.speculation.known_answers import cheap
from tests.parity.bind_tiny import SIZES, imagebind_w3d

DRAFTING = EngineConfig(speculative_tokens=7)
TALK = Conversation((Turn("user", "What is a panda?"),))


@pytest.fixture(scope="module")
def plain(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out, tiny = tmp_path_factory.mktemp("models") / "tiny", golden / "pandagpt-tiny"
    weights = imagebind_w3d(golden, out.parent)
    files = PandaGPTOriginals(weights, tiny / "vicuna_tiny", tiny / "pandagpt_ckpt" / "pytorch_model.pt")
    convert_pandagpt(files, out, PandaGPTOptions(model_id="tiny", sizes=SIZES, max_model_len=256))
    return out


@pytest.fixture(scope="module")
def counted_folder(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = Path(shutil.copytree(plain, tmp_path_factory.mktemp("counted") / "tiny"))
    assert cli.main(["ngrams", "--model", str(out), "--tokens", "1500"]) == 0
    return out


@pytest.fixture
def folder(counted_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(counted_folder, tmp_path / "tiny"))


def answered(runtime: Runtime, params: SamplingParams) -> list[int]:
    runtime.admit(SequenceRequest("a", TALK, (), params))
    tokens: list[int] = []
    while runtime.has_work:
        tokens += [output.token_id for output in runtime.step()]
    return tokens


def test_the_folder_names_its_table_and_nothing_is_left_over(plain: Path, counted_folder: Path) -> None:
    said = read_model_folder(counted_folder)
    verify_files(counted_folder, said)
    before = read_model_folder(plain)
    assert set(said.files) == {*before.files, NGRAMS}
    assert {file.name for file in counted_folder.iterdir()} == {*(file.name for file in plain.iterdir()), NGRAMS}
    assert said.encoder_digest == before.encoder_digest  # embeddings that are kept stay valid


@pytest.mark.parametrize(
    "params", [SamplingParams(40, 0.0), SamplingParams(40, 0.8, seed=5)], ids=["greedy", "sampled"]
)
def test_answers_are_those_without_a_table(plain: Path, folder: Path, params: SamplingParams) -> None:
    """The table is of the very answer: random weights write nothing twice."""
    without = loaded(plain)
    answer = answered(without, params)
    lead = without.tokenize(TALK)[-LONGEST:]
    put_table(
        folder, {name: torch.from_numpy(array) for name, array in count_ngrams([[*lead, *answer]] * SEEN).items()}
    )
    drafting = loaded(folder)
    assert answered(drafting, params) == answer
    assert without.stats().accepted < drafting.stats().accepted <= drafting.stats().drafted
    assert drafting.stats().accepted > len(answer) / 2


def loaded(folder: Path) -> Runtime:
    runtime = load_model(folder, RuntimeOptions(dtype="float32", max_sequences=2, engine=DRAFTING))
    assert isinstance(runtime._engine, Engine)
    cheap(runtime._engine)
    return runtime


def test_a_table_is_replaced_by_the_next(folder: Path) -> None:
    before = load_file(folder / NGRAMS)
    built = build_ngrams(folder, 500, progress=lambda _count: None)
    after = load_file(folder / NGRAMS)
    assert 500 <= built.tokens < 1500
    assert len(after["contexts.1"]) < len(before["contexts.1"])
    assert built.contexts == sum(len(after[f"contexts.{n}"]) for n in (1, 2, 3))
    verify_files(folder, read_model_folder(folder))


def test_the_same_model_makes_the_same_table(plain: Path, tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        copy = Path(shutil.copytree(plain, tmp_path / name))
        build_ngrams(copy, 500, progress=lambda _count: None)
        made.append((copy / NGRAMS).read_bytes())
    assert made[0] == made[1]


def test_a_table_with_another_digest_is_refused(folder: Path) -> None:
    (folder / NGRAMS).write_bytes((folder / NGRAMS).read_bytes()[:-1] + b"?")
    with pytest.raises(DigestMismatch, match=NGRAMS):
        load_model(folder, RuntimeOptions())


def test_a_table_of_another_vocabulary_is_refused_with_its_name(folder: Path) -> None:
    arrays = load_file(folder / NGRAMS)
    arrays["tokens.1"][0] = 10_000_000
    (folder / NGRAMS).unlink()
    write_safetensors(folder / NGRAMS, arrays, arrays.__getitem__)
    with pytest.raises(CheckpointError, match=rf"{NGRAMS}: the 1-grams have tokens \d+ to 10000000"):
        load_model(folder, RuntimeOptions(verify=False))


def test_a_file_that_is_none_is_refused(folder: Path) -> None:
    (folder / NGRAMS).write_bytes(b"no safetensors")
    with pytest.raises(CheckpointError, match=NGRAMS):
        load_model(folder, RuntimeOptions(verify=False))


class SilentEngine:
    """An engine whose sequences end without a token."""

    has_work = False

    def add(self, _request: EngineRequest) -> None:
        """Forget it."""


def test_a_model_without_a_question_is_refused(plain: Path) -> None:
    with pytest.raises(CheckpointError, match="tiny writes no question"):
        next(self_asked(load_system(plain, LoadOptions()), SilentEngine()))  # type: ignore[arg-type]


def test_a_folder_without_a_model_is_refused_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["ngrams", "--model", str(tmp_path)]) == 2
    assert "is not a model folder" in capsys.readouterr().err
