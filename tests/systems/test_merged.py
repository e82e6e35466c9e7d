"""The language model as a plain folder for another engine, and a whole runtime on such an engine."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pandagpt_core.checkpoints import ADAPTER, read_model_folder, write_model_folder
from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt
from pandagpt_core.encoders.sizes import TOWERS, ImageBindSizes, TowerSize
from pandagpt_core.errors import CheckpointError, DigestMismatch
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.llm.torch_backend import serve
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.loading import RuntimeOptions, VllmOptions, load_model
from pandagpt_core.runtime import Runtime
from pandagpt_core.systems.merged import load_table, merged_folder, merged_name
from pandagpt_core.types import Conversation, MediaUse, Modality, SamplingParams, TokenOutput, Turn
from tests.engine.fake_vllm import FakeAsyncLLM, fake_calls

SIZES = ImageBindSizes(**{name: TowerSize(48 if name == "depth" else 64, 2, 4) for name in TOWERS}, out=32, vocab=512)
TALK = Conversation((Turn("user", "What is in the image?"),), (MediaUse(Modality.IMAGE, "a", 0),))
TEXT_ONLY = Conversation((Turn("user", "What is in the image?"),))
EMBEDDING = np.linspace(-1, 1, 32, dtype=np.float32)[None]


@pytest.fixture(scope="module")
def folder(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "tiny"
    tiny = golden / "pandagpt-tiny"
    imagebind = golden / "imagebind-tiny" / "weights.safetensors"
    originals = PandaGPTOriginals(imagebind, tiny / "vicuna_tiny", tiny / "pandagpt_ckpt" / "pytorch_model.pt")
    convert_pandagpt(originals, out, PandaGPTOptions(model_id="tiny", sizes=SIZES, max_model_len=128))
    return out


@pytest.fixture(scope="module")
def merged(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return merged_folder(folder, tmp_path_factory.mktemp("cache"))


def test_the_folder_holds_the_weights_that_our_engine_computes_with(folder: Path, merged: Path) -> None:
    ours = load_model(folder, RuntimeOptions(dtype="float32"))._system.llm  # type: ignore[attr-defined]  # served: joined products
    theirs = serve(load_llama(merged))
    ids = torch.arange(12)[None]
    torch.testing.assert_close(ours(ours.embed(ids)), theirs(theirs.embed(ids)), rtol=0, atol=1e-4)
    assert not torch.allclose(theirs(theirs.embed(ids)), _unmerged(folder, ids), atol=1e-3)


def _unmerged(folder: Path, ids: torch.Tensor) -> torch.Tensor:
    llm = serve(load_llama(folder / "llm"))
    out: torch.Tensor = llm(llm.embed(ids))
    return out


def test_it_is_made_once_and_named_by_what_went_in(folder: Path, merged: Path) -> None:
    before = (merged / "model.safetensors").stat().st_mtime_ns
    assert merged_folder(folder, merged.parent) == merged
    assert (merged / "model.safetensors").stat().st_mtime_ns == before
    assert [path.name for path in merged.parent.iterdir()] == [merged.name]  # nothing half made beside it
    described = read_model_folder(folder)
    others = [
        _changed(described, files={**described.files, ADAPTER: "0" * 64}),
        _changed(described, lora=None),
    ]
    assert len({merged.name, *map(merged_name, others)}) == 3
    same = _changed(described, files={**described.files, "encoder.safetensors": "0" * 64}, id="other")
    assert merged_name(same) == merged.name


def _changed(folder, **fields):  # type: ignore[no-untyped-def]  # a Struct in, one of the same type out
    import msgspec

    return msgspec.structs.replace(folder, **fields)


def test_a_folder_that_has_nothing_to_merge_serves_as_it_is(folder: Path, tmp_path: Path) -> None:
    described = read_model_folder(folder)
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "llm").symlink_to(folder / "llm")
    assert described.lora is not None
    write_model_folder(plain, _changed(described, lora=_changed(described.lora, merged=True)))
    assert merged_folder(plain, tmp_path / "cache") == plain / "llm"
    assert not (tmp_path / "cache").exists()


def test_a_damaged_adapter_is_found_before_it_is_merged(folder: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for path in folder.iterdir():
        (damaged / path.name).symlink_to(path)
    (damaged / ADAPTER).unlink()
    (damaged / ADAPTER).write_bytes((folder / ADAPTER).read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(DigestMismatch):
        merged_folder(damaged, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*")) if (tmp_path / "cache").exists() else True


def test_the_table_embeds_as_the_whole_model_and_its_layers_take_no_memory(merged: Path, tmp_path: Path) -> None:
    table, whole = load_table(merged, "cpu"), load_llama(merged)
    assert torch.equal(table.embed([3, 1, 2]), whole.embed([3, 1, 2]))
    assert all(p.is_meta for p in table.model.layers.parameters())
    (tmp_path / "config.json").write_bytes((merged / "config.json").read_bytes())
    with pytest.raises(CheckpointError):
        load_table(tmp_path, "cpu")


def answer(runtime: Runtime, talk: Conversation, params: SamplingParams, resume: list[int]) -> list[TokenOutput]:
    runtime.admit(SequenceRequest("a/0", talk, [EMBEDDING] * len(talk.media), params, resume))
    outputs: list[TokenOutput] = []
    while runtime.has_work:
        outputs += runtime.step()
    return outputs


def test_a_runtime_on_vllm_answers_as_one_on_our_engine(folder: Path, merged: Path) -> None:
    own = load_model(folder, RuntimeOptions(dtype="float32"))
    started: list[FakeAsyncLLM] = []
    calls = fake_calls(serve(load_llama(merged)), started)
    theirs = load_model(
        folder,
        RuntimeOptions(
            dtype="float32",
            max_sequences=3,
            step_tokens=64,
            vllm=VllmOptions(merged.parent, {"pipeline_parallel_size": 2}, calls),
        ),
    )
    assert theirs.info == own.info
    image = np.zeros((1, 3, 224, 224), dtype=np.float32)
    for ours, other in zip(own.encode(Modality.IMAGE, [image]), theirs.encode(Modality.IMAGE, [image]), strict=True):
        assert np.array_equal(ours, other)
    for talk in (TALK, TEXT_ONLY):
        for params in (SamplingParams(max_tokens=8, temperature=0.0), SamplingParams(max_tokens=8, seed=7)):
            whole = answer(own, talk, params, [])
            assert answer(theirs, talk, params, []) == whole
            assert answer(theirs, talk, params, [output.token_id for output in whole[:3]]) == whole[3:]
    theirs.close()
    said = started[0].arguments
    assert (said["model"], said["dtype"], said["max_num_seqs"]) == (str(merged), "float32", 3)
    assert load_tokenizer(Path(said["tokenizer"])).encode("panda") == theirs.tokenize("panda", False)
    assert (said["max_num_batched_tokens"], said["pipeline_parallel_size"]) == (64, 2)
    with pytest.raises(ValueError, match="no dtype int8"):
        load_model(folder, RuntimeOptions(dtype="int8", vllm=VllmOptions(merged.parent, {}, calls)))
