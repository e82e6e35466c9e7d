"""The whole of ImageBind-LLM against the original's own run of it, through our converter, system and engine."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from pandagpt_core.checkpoints import CacheSpec
from pandagpt_core.errors import CheckpointError, ModelFault
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.loading import RuntimeOptions, VllmOptions, load_model
from pandagpt_core.runtime import Runtime
from pandagpt_core.systems import LoadOptions, load_system
from pandagpt_core.systems.imagebind_llm.system import ImageBindLLM
from pandagpt_core.systems.visual_cache import FolderCache
from pandagpt_core.types import Conversation, MediaUse, OptionValue, SamplingParams, TokenOutput, Turn
from pandagpt_core.visual_cache import ROWS_AT_ONCE, VisualCache
from tests import golden as vectors
from tests.engine.fake_vllm import fake_calls
from tests.parity.bind_tiny import FEATURES, FOUND, LOGITS, MEDIA, PART, WITH_OPTIONS, Golden, cache_options, convert

CASES = vectors.cases(PART, "generate")
COMBINATIONS = vectors.cases(PART, "combos")
STEPS = max(
    (one["max_gen_len"] for one in vectors.read(PART, "cases.json").get("generate", {}).values()),
    default=1,
)


@pytest.fixture(scope="module")
def folder(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(golden, tmp_path_factory.mktemp("models"))[0]


@pytest.fixture(scope="module")
def system(folder: Path) -> ImageBindLLM:
    loaded = load_system(folder, LoadOptions())
    assert isinstance(loaded, ImageBindLLM)
    return loaded


@pytest.fixture(scope="module")
def said(golden: Path) -> Golden:
    return Golden.read(golden)


def conversation(weights: Mapping[str, float], text: str = "x", **options: OptionValue) -> Conversation:
    media = tuple(MediaUse(MEDIA[name][1], name, 0, weight) for name, weight in weights.items())
    return Conversation((Turn("user", text),), media, options)


def rows(system: ImageBindLLM, said: Golden, asked: Conversation) -> list[torch.Tensor]:
    return [system.encode(use.modality, [said.array(use.digest)])[0] for use in asked.media]


def case(said: Golden, name: str) -> Conversation:
    """A generated case's conversation, by the options that a caller would send."""
    about = said.said["generate"][name]
    options: dict[str, OptionValue] = {} if about["knn"] else {"cache_size": 0}
    if about["input"]:
        options["input"] = about["input"]
    return conversation(about["combo"], about["instruction"], **options)


def prepared(system: ImageBindLLM, said: Golden, name: str) -> LLMInputs:
    asked = case(said, name)
    return system.prepare(asked, rows(system, said, asked))


@pytest.mark.parametrize("combination", COMBINATIONS)
@pytest.mark.parametrize("kind", ["visual", "visual_knn"])
@torch.inference_mode()
def test_the_feature_and_the_bind_networks_vector_are_the_originals(
    system: ImageBindLLM, said: Golden, kind: str, combination: str
) -> None:
    asked = conversation(said.weights(combination), **({} if kind == "visual_knn" else {"cache_size": 0}))
    feature, _ = system.feature(asked, rows(system, said, asked))
    torch.testing.assert_close(feature, said.tensor(f"{kind}/{combination}/mixed"), rtol=0, atol=FEATURES)
    out = system.bridge.network(feature)
    torch.testing.assert_close(out, said.tensor(f"{kind}/{combination}/out"), rtol=0, atol=FEATURES)


@pytest.mark.parametrize("name", vectors.tensors(PART, WITH_OPTIONS))
@torch.inference_mode()
def test_the_caches_options_are_a_requests(system: ImageBindLLM, said: Golden, name: str) -> None:
    combination, size, temperature, weight = cache_options(name)
    weights = said.weights(combination)
    asked = conversation(weights, cache_size=size, cache_t=temperature, cache_weight=weight)
    feature, _ = system.feature(asked, rows(system, said, asked))
    expected = said.tensor(f"visual_knn/{name}/mixed")
    torch.testing.assert_close(feature, expected, rtol=0, atol=FEATURES)


@pytest.mark.parametrize("name", vectors.tensors(PART, FOUND))
def test_the_rows_that_were_retrieved_are_told_when_asked(system: ImageBindLLM, said: Golden, name: str) -> None:
    asked = conversation(said.weights(name), cache_details=True)
    fields = system.prepare(asked, rows(system, said, asked)).fields
    assert fields is not None
    assert fields["cache"]["rows"] == said.tensor(f"knn/{name}/indices").tolist()
    np.testing.assert_allclose(fields["cache"]["similarities"], said.tensor(f"knn/{name}/sims"), atol=FEATURES)
    asked = conversation(said.weights(name))
    assert system.prepare(asked, rows(system, said, asked)).fields is None


def test_a_long_search_is_divided_and_gives_the_same_vector(system: ImageBindLLM, said: Golden) -> None:
    vectors = torch.randn(2 * ROWS_AT_ONCE, system.encoder.dim, generator=torch.Generator().manual_seed(3))
    cache = FolderCache(VisualCache(torch.nn.functional.normalize(vectors, dim=-1)), CacheSpec(rows=len(vectors)))
    large, asked = dataclasses.replace(system, cache=cache), conversation({"Image": 1, "Audio": 1}, cache_details=True)
    embeddings = rows(system, said, asked)
    *pieces, found = large.look_up(asked, embeddings)
    assert pieces == [None, None]
    assert found is not None
    ahead, alone = large.prepare(asked, embeddings, found), large.prepare(asked, embeddings)
    assert ahead.layer_bias is not None
    assert alone.layer_bias is not None
    assert torch.equal(ahead.layer_bias, alone.layer_bias)
    ((_, similar),) = found.values()
    assert list(similar) == (ahead.fields or {})["cache"]["rows"]


@pytest.mark.parametrize("name", CASES)
def test_prompts_are_tokenised_as_the_original_does(system: ImageBindLLM, said: Golden, name: str) -> None:
    assert list(prepared(system, said, name).ids) == said.said["generate"][name]["prompt_tokens"]


@pytest.mark.parametrize("name", CASES)
@torch.inference_mode()
def test_logits_are_the_originals_at_every_step(system: ImageBindLLM, said: Golden, name: str) -> None:
    inputs = prepared(system, said, name)
    answer = said.said["generate"][name]["greedy_ids"]
    assert inputs.layer_bias is not None
    embeds = torch.cat([inputs.embeds, system.llm.embed(answer)])[None]
    logits = system.llm(embeds, layer_bias=inputs.layer_bias[None])[0, len(inputs.ids) - 1 :][:STEPS]
    torch.testing.assert_close(logits, said.tensors[f"generate/{name}/step_logits"], rtol=0, atol=LOGITS)


@pytest.mark.parametrize("runner", ["torch", "openvino"])
def test_one_batch_of_all_cases_gives_each_its_own_greedy_answer(folder: Path, said: Golden, runner: str) -> None:
    if runner == "openvino":
        pytest.importorskip("openvino")
    runtime = load_model(folder, RuntimeOptions(dtype="float32", runner=runner))  # type: ignore[arg-type]  # one of its literals
    assert runtime.runner == runner
    params = SamplingParams(max_tokens=STEPS, temperature=0.0, ignore_eos=True)
    plain = Conversation((Turn("user", "Describe the sound you hear."),))
    found = answers(runtime, {**{name: case(said, name) for name in CASES}, "plain": plain}, said, params)
    for name in CASES:
        assert found[name] == said.said["generate"][name]["greedy_ids"]
    assert found["plain"] == answers(runtime, {"plain": plain}, said, params)["plain"]
    assert found["plain"] not in [found[name] for name in CASES]


def test_the_engine_vllm_refuses_the_system_and_says_what_serves_it(
    folder: Path, system: ImageBindLLM, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="the engine vllm cannot; serve this model with the engine own"):
        load_model(folder, RuntimeOptions(vllm=VllmOptions(tmp_path, calls=fake_calls(system.llm))))


def answers(
    runtime: Runtime, asked: dict[str, Conversation], said: Golden, params: SamplingParams
) -> dict[str, list[int]]:
    """The token ids of each conversation's answer, all of them in one batch."""
    for name, conversation in asked.items():
        embeddings = [runtime.encode(use.modality, [said.array(use.digest)])[0] for use in conversation.media]
        runtime.admit(SequenceRequest(name, conversation, embeddings, params))
    outputs: list[TokenOutput] = []
    while runtime.has_work:
        outputs += runtime.step()
    return {name: [out.token_id for out in outputs if out.sequence_id == name] for name in asked}


@pytest.mark.parametrize("name", CASES)
def test_the_text_is_the_originals(system: ImageBindLLM, said: Golden, name: str) -> None:
    about = said.said["generate"][name]
    assert system.tokenizer.decode(about["greedy_ids"]).strip() == about["text"]


@torch.inference_mode()
def test_numbers_of_the_adapters_weights_are_the_models_fault(system: ImageBindLLM, said: Golden) -> None:
    asked = conversation({"Image": 1})
    given = rows(system, said, asked)
    broken = dataclasses.replace(system, bridge=lambda feature: system.bridge(feature) * float("nan"))
    with pytest.raises(ModelFault, match="the model's bind network gives numbers that are not finite"):
        broken.prepare(asked, given)
