"""The whole of PandaGPT against the original's own run of it: media in, greedy tokens out, through our runtime."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.media import Limits, load
from pandagpt_core.runtime import Runtime
from pandagpt_core.systems import LoadOptions, load_system
from pandagpt_core.systems.pandagpt import PandaGPT
from pandagpt_core.types import Conversation, MediaUse, Modality, SamplingParams, TokenOutput, Turn
from tests import golden as vectors

CASES = vectors.cases("pandagpt-tiny", "cases")
CONFIG = vectors.read("pandagpt-tiny")
EMBEDS, LOGITS = 1e-5, 5e-5  # the golden set's own tolerances
HEARD_EMBEDS = 2e-5  # with audio: filter banks near silence are rounding noise (golden/preprocessing/README.md)
VOCABULARY = CONFIG.get("llama", {}).get("vocab_size", 1)
GREEDY = SamplingParams(max_tokens=CONFIG.get("max_new_tokens", 1), temperature=0.0, logprobs=VOCABULARY)


@dataclass(frozen=True)
class Case:
    """One golden case: the question, the original's answer, and its tensors."""

    name: str
    said: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]
    folder: Path

    def tensor(self, name: str) -> torch.Tensor:
        return self.tensors[f"{self.name}/{name}"][0]

    @property
    def step_logits(self) -> torch.Tensor:
        return self.tensors[f"{self.name}/step_logits"]

    def tokens(self, *, stopped: bool) -> list[int]:
        """Generated ids without the BOS that transformers 4.29.1 puts first."""
        return self.tensor("generate_output_ids" if stopped else "generate_output_ids_no_stop").tolist()[1:]

    @property
    def conversation(self) -> Conversation:
        turns = []
        for question, answer in self.said["history"]:
            turns += [Turn("user", question), Turn("assistant", answer)]
        media = tuple(MediaUse(Modality(name), path, 0) for name, path in self.said["modalities"].items())
        return Conversation((*turns, Turn("user", self.said["user_input"])), media)

    def embeddings(self, runtime: Runtime) -> list[np.ndarray]:
        """Our own decoding and our own towers, one medium at a time."""
        return [
            runtime.encode(use.modality, [load(runtime.info.recipes[use.modality], self._bytes(use), {}, Limits())])[0]
            for use in self.conversation.media
        ]

    def _bytes(self, use: MediaUse) -> bytes:
        return vectors.medium(self.folder / use.digest)


@pytest.fixture(scope="module")
def folder(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "pandagpt-tiny"
    tiny = golden / "pandagpt-tiny"
    imagebind = golden / "imagebind-tiny" / "weights.safetensors"
    originals = PandaGPTOriginals(imagebind, tiny / "vicuna_tiny", tiny / "pandagpt_ckpt" / "pytorch_model.pt")
    options = PandaGPTOptions(
        model_id="pandagpt-tiny",
        sizes=vectors.imagebind_sizes(golden),
        lora_alpha=float(CONFIG["lora_alpha"]),
        lora_targets=tuple(CONFIG["lora_target_modules"]),
    )
    convert_pandagpt(originals, out, options)
    return out


@pytest.fixture(scope="module")
def system(folder: Path) -> PandaGPT:
    loaded = load_system(folder, LoadOptions())
    assert isinstance(loaded, PandaGPT)
    return loaded


@pytest.fixture(scope="module")
def runtime(folder: Path) -> Runtime:
    return load_model(folder)


@pytest.fixture(scope="module")
def original(folder: Path) -> Runtime:
    """With the original's stop rule."""
    return load_model(folder, RuntimeOptions(original_stop=True))


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, golden: Path) -> Case:
    tiny = golden / "pandagpt-tiny"
    said = json.loads((tiny / "cases.json").read_text())["cases"][request.param]
    return Case(request.param, said, load_file(tiny / "cases.safetensors"), tiny)


@pytest.fixture
def prepared(system: PandaGPT, runtime: Runtime, case: Case) -> LLMInputs:
    """From our own media preprocessing and towers on."""
    return system.prepare(case.conversation, [torch.from_numpy(e) for e in case.embeddings(runtime)])


@pytest.fixture
def given(prepared: LLMInputs, case: Case) -> torch.Tensor:
    """Our prompt's embeddings [T, D] with the original's soft token: the language model's half alone."""
    embeds = prepared.embeds.clone()
    embeds[soft_row(prepared)] = case.tensor("modality_embed")[0]
    return embeds


def soft_row(inputs: LLMInputs) -> int:
    (at,) = [index for index, token in enumerate(inputs.ids) if token < 0]
    return at


def run(runtime: Runtime, sequence_id: str = "s") -> list[TokenOutput]:
    outputs = []
    while runtime.has_work:
        outputs += [output for output in runtime.step() if output.sequence_id == sequence_id]
    return outputs


def test_media_become_the_same_soft_token(prepared: LLMInputs, case: Case) -> None:
    tolerance = HEARD_EMBEDS if "audio" in case.said["modalities"] else EMBEDS
    soft = prepared.embeds[soft_row(prepared)]
    torch.testing.assert_close(soft, case.tensor("modality_embed")[0], atol=tolerance, rtol=0)


def test_prompts_have_the_same_token_ids(prepared: LLMInputs, case: Case) -> None:
    ids = [None if token < 0 else token for token in prepared.ids]
    assert ids == [case.said["bos_id"], *case.said["prompt_start_ids"], None, *case.said["after_ids"]]


def test_prompts_have_the_same_embeddings(given: torch.Tensor, case: Case) -> None:
    torch.testing.assert_close(given, case.tensor("inputs_embeds"), atol=EMBEDS, rtol=0)


def test_the_next_token_has_the_same_logits(system: PandaGPT, given: torch.Tensor, case: Case) -> None:
    logits = system.llm(given[None])[0, -1]
    torch.testing.assert_close(logits, case.tensor("next_token_logits"), atol=LOGITS, rtol=0)


def test_every_step_has_the_same_logits(system: PandaGPT, given: torch.Tensor, case: Case) -> None:
    answer = system.llm.embed(case.tokens(stopped=True)[: len(case.step_logits) - 1])
    logits = system.llm(torch.cat([given, answer])[None])[0, len(given) - 1 :]
    torch.testing.assert_close(logits, case.step_logits, atol=LOGITS, rtol=0)


def test_the_original_stop_rule_gives_the_originals_tokens_and_text(original: Runtime, case: Case) -> None:
    original.admit(SequenceRequest("s", case.conversation, case.embeddings(original), GREEDY))
    outputs = run(original)
    assert [output.token_id for output in outputs] == case.tokens(stopped=True)
    stopped = case.said["stopped_by_stop_token"]
    assert "".join(output.text for output in outputs) == case.said["decoded_full"].removesuffix("##" if stopped else "")
    assert outputs[-1].finish_reason == ("stop" if stopped else "length")


def test_from_bytes_to_log_probabilities_every_step_is_the_originals(original: Runtime, case: Case) -> None:
    original.admit(SequenceRequest("s", case.conversation, case.embeddings(original), GREEDY))
    expected = torch.log_softmax(case.step_logits, dim=-1)
    for output, row in zip(run(original), expected, strict=True):
        assert output.logprob is not None
        found = torch.empty(len(row))
        for token, _, logprob in output.logprob.top:
            found[token] = logprob
        torch.testing.assert_close(found, row, atol=2 * LOGITS, rtol=0)


def test_two_signs_alone_do_not_end_an_answer(runtime: Runtime, case: Case) -> None:
    runtime.admit(SequenceRequest("s", case.conversation, case.embeddings(runtime), GREEDY))
    outputs = run(runtime)
    assert [output.token_id for output in outputs] == case.tokens(stopped=False)
    assert "".join(output.text for output in outputs) == case.said["decoded_no_stop"]
    assert outputs[-1].finish_reason == "length"
