"""A medium's contribution to an answer is the difference of two log likelihoods, computed here by whole passes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt
from pandagpt_core.encoders.sizes import TOWERS, ImageBindSizes, TowerSize
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.runtime import Runtime
from pandagpt_core.systems.contributions import check_explainable
from pandagpt_core.types import Conversation, Fields, MediaUse, Modality, SamplingParams, Turn

SIZES = ImageBindSizes(**{name: TowerSize(48 if name == "depth" else 64, 2, 4) for name in TOWERS}, out=32, vocab=512)
TURNS = (Turn("user", "What is in the image? Describe it in many words, please, and do not stop early."),)
ANSWER = [7, 300, 12, 45, 45, 9]


@pytest.fixture(scope="module")
def runtime(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    out = tmp_path_factory.mktemp("models") / "tiny"
    tiny = golden / "pandagpt-tiny"
    imagebind = golden / "imagebind-tiny" / "weights.safetensors"
    originals = PandaGPTOriginals(imagebind, tiny / "vicuna_tiny", tiny / "pandagpt_ckpt" / "pytorch_model.pt")
    convert_pandagpt(originals, out, PandaGPTOptions(model_id="tiny", sizes=SIZES, max_model_len=512))
    return load_model(out, RuntimeOptions(dtype="float32", max_sequences=2))


def rows(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(1, 32)).astype(np.float32)


def asked(*uses: MediaUse, turns: tuple[Turn, ...] = TURNS) -> SequenceRequest:
    found = [rows(int(use.digest)) for use in uses]
    return SequenceRequest("a", Conversation(turns, tuple(uses)), found, SamplingParams())


def explained(runtime: Runtime, request: SequenceRequest, answer: list[int]) -> Fields:
    pieces = list(runtime.explain(request, answer))
    assert all(piece is None for piece in pieces[:-1])
    assert len(pieces) > 2
    return pieces[-1]["contributions"]


def likelihood(runtime: Runtime, request: SequenceRequest, answer: list[int]) -> float:
    """By one pass over prompt and answer, without a cache."""
    system = runtime._system
    inputs = system.prepare(request.conversation, [torch.from_numpy(one) for one in request.embeddings])
    embeds = torch.cat([inputs.embeds, system.llm.embed(answer)])
    with torch.inference_mode():
        logprobs = system.llm(embeds[None])[0].float().log_softmax(dim=-1)
    first = len(inputs.ids) - 1
    return sum(float(logprobs[first + at, token]) for at, token in enumerate(answer))


IMAGE, AUDIO = MediaUse(Modality.IMAGE, "1", 0), MediaUse(Modality.AUDIO, "2", 0)


@pytest.mark.parametrize("answer", [ANSWER, ANSWER[:1], ANSWER * 20])
def test_a_gain_is_the_answer_with_the_medium_less_the_answer_without(runtime: Runtime, answer: list[int]) -> None:
    found = explained(runtime, asked(IMAGE, AUDIO), answer)
    every = likelihood(runtime, asked(IMAGE, AUDIO), answer)
    assert found["tokens"] == len(answer)
    assert found["log_likelihood"] == pytest.approx(every, abs=2e-2)
    assert [one["modality"] for one in found["media"]] == ["image", "audio"]
    for one, left in zip(found["media"], (AUDIO, IMAGE), strict=True):
        without = likelihood(runtime, asked(left), answer)
        assert one["without"] == pytest.approx(without, abs=2e-2)
        assert one["gain"] == pytest.approx(every - without, abs=4e-2)


def test_a_medium_that_comes_again_is_one(runtime: Runtime) -> None:
    turns = (*TURNS, Turn("assistant", "a dog"), Turn("user", "Sure?"))
    again = MediaUse(Modality.IMAGE, "1", 2)
    found = explained(runtime, asked(IMAGE, again, turns=turns), ANSWER)
    (one,) = found["media"]
    assert one["without"] == pytest.approx(likelihood(runtime, asked(turns=turns), ANSWER), abs=2e-2)


def test_a_medium_of_weight_nothing_contributes_nothing(runtime: Runtime) -> None:
    silent = MediaUse(Modality.AUDIO, "2", 0, 0.0)
    media = explained(runtime, asked(IMAGE, silent), ANSWER)["media"]
    assert media[1]["gain"] == pytest.approx(0, abs=1e-3)
    assert abs(media[0]["gain"]) > 0.01


def test_an_empty_answer_has_nothing_to_explain(runtime: Runtime) -> None:
    (fields,) = runtime.explain(asked(IMAGE), [])
    assert fields is not None
    assert fields["contributions"]["media"] == []


def test_a_system_that_adds_to_every_layer_is_refused(runtime: Runtime) -> None:
    runtime.check_explains(asked(IMAGE))
    with pytest.raises(InvalidRequest, match="cannot explain"):
        check_explainable(LLMInputs(torch.zeros(1, 8), (1,), torch.zeros(2, 8)))
