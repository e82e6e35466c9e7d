"""MiniGPT-v2's training step against the original's: targets, losses and gradients, from its files and its pictures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pandagpt_core.checkpoints import MiniGPTv2Folder, llm_path, read_folder_of
from pandagpt_core.convert.minigpt_v2 import MiniGPTv2Options, MiniGPTv2Originals, convert_minigpt_v2
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.media import Limits, load
from pandagpt_core.systems.encoder import load_encoder
from pandagpt_core.training.batch import IGNORED, collate
from pandagpt_core.training.conversations import ChatTurn, TokenizedExample
from pandagpt_core.training.tune.data.layout import tokenize_minigpt
from pandagpt_core.training.tune.model import TrainableModel, build_trainable
from pandagpt_core.training.tune.settings import LoraSettings
from pandagpt_core.types import Modality
from tests import golden as vectors

CASES = vectors.cases("minigpt-v2-tiny", "train")
CONFIG = vectors.read("minigpt-v2-tiny")
LOSS, GRADIENT = 1e-5, 1e-4  # relative: the golden set's own tolerances
LORA = LoraSettings(
    start="folder",
    r=CONFIG.get("lora_r", 1),
    alpha=float(CONFIG.get("lora_alpha", 1)),
    dropout=0.0,
    targets=tuple(CONFIG.get("lora_target_modules", ())),
)
PICTURE = "<Img><ImageHere></Img> "


@pytest.fixture(scope="module")
def tiny(golden: Path) -> Path:
    return golden / "minigpt-v2-tiny"


@pytest.fixture(scope="module")
def folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "tiny"
    options = MiniGPTv2Options("tiny", vectors.eva_sizes(tiny.parent), lora_alpha=LORA.alpha)
    convert_minigpt_v2(MiniGPTv2Originals(tiny / "llama2_tiny", checkpoint=tiny / "weights.safetensors"), out, options)
    return out


@pytest.fixture(scope="module")
def tensors(tiny: Path) -> dict[str, torch.Tensor]:
    return load_file(tiny / "cases.safetensors")


@pytest.fixture(scope="module")
def trained(tiny: Path) -> Mapping[str, Any]:
    told: dict[str, Any] = json.loads((tiny / "cases.json").read_text())["train"]
    return told


@pytest.fixture
def model(folder: Path) -> TrainableModel:
    return build_trainable(folder, read_folder_of(folder, MiniGPTv2Folder), LORA, seed=0)


def conversations(samples: Mapping[str, Any]) -> list[list[ChatTurn]]:
    """The samples of a case as a caller of the trainer writes them: no picture's mark, no space at the end."""
    if "conv_q" in samples:
        asked = [one.split("!@#") for one in samples["conv_q"]]
        given = [one.split("!@#") for one in samples["conv_a"]]
    else:
        asked, given = [[one] for one in samples["instruction_input"]], [[one] for one in samples["answer"]]
    talks = []
    for questions, answers in zip(asked, given, strict=True):
        turns: list[ChatTurn] = []
        for question, answer in zip(questions, answers, strict=True):
            plain = question.removeprefix(PICTURE).removesuffix(" ")
            turns += [ChatTurn("human", plain), ChatTurn("gpt", answer)]
        talks.append(turns)
    return talks


def tokenized(folder: Path, case: Mapping[str, Any]) -> list[TokenizedExample]:
    tokenizer = load_tokenizer(llm_path(folder, read_folder_of(folder, MiniGPTv2Folder).llm))
    has_picture = case["images"] is not None
    return [tokenize_minigpt(one, tokenizer, 256, 500, media=has_picture) for one in conversations(case["samples"])]


def rows_of(folder: Path, tiny: Path, images: list[str] | None) -> list[list[torch.Tensor]]:
    described = read_folder_of(folder, MiniGPTv2Folder)
    encoder = load_encoder(folder, described, "cpu")
    arrays = [load("eva-image-v1", vectors.medium(tiny / image), {}, Limits()) for image in images or []]
    encoded = [encoder.encode(Modality.IMAGE, torch.from_numpy(array))[0].clone() for array in arrays]
    return [list(rows) for rows in encoded] or [[], []]


@pytest.mark.parametrize("name", CASES)
def test_sequences_have_the_originals_lengths_and_targets(
    folder: Path, trained: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], name: str
) -> None:
    expected = tensors[f"train_{name}/part_targets"]
    conditions = tensors[f"train_{name}/cond_atts"].sum(dim=1)
    for index, one in enumerate(tokenized(folder, trained[name])):
        condition = 1 + int(conditions[index])  # BOS
        answers = list(one.targets[condition:])
        length = int(tensors[f"train_{name}/regress_atts"][index].sum())
        assert answers == expected[index, :length].tolist()
        assert set(one.targets[:condition]) == {IGNORED}
        assert len(one.ids) == condition + length


@pytest.mark.parametrize("name", CASES)
def test_a_step_has_the_originals_loss_and_gradients(
    folder: Path,
    tiny: Path,
    model: TrainableModel,
    trained: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    name: str,
) -> None:
    examples, media = tokenized(folder, trained[name]), rows_of(folder, tiny, trained[name]["images"])
    batch = collate(
        [one.ids for one in examples],
        [one.targets for one in examples],
        media,
        vectors.eva_sizes(tiny.parent).row_width,
    )
    loss = model(batch).loss / batch.learned
    assert float(loss.detach()) == pytest.approx(trained[name]["loss"], rel=LOSS)
    torch.autograd.backward(loss)
    norms = {
        key: float(parameter.grad.norm()) for key, parameter in gradients(model).items() if parameter.grad is not None
    }
    expected = trained[name]["grad_norms"]
    assert {key: norms[key] for key in expected} == pytest.approx(expected, rel=GRADIENT)
    for key, parameter in gradients(model).items():
        whole = tensors.get(f"train_{name}/grad/{key}")
        if whole is not None and parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, whole, rtol=GRADIENT, atol=GRADIENT * float(whole.abs().max()))


def gradients(model: TrainableModel) -> dict[str, torch.nn.Parameter]:
    """The trained parameters by the original's names."""
    halves = {"a": "lora_A.weight", "b": "lora_B.weight"}
    named: dict[str, torch.nn.Parameter] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            layer, _, leaf = name.rpartition(".")
            inner = f"llama_model.base_model.model.{layer.removeprefix('llm.')}.{halves.get(leaf, leaf)}"
            named[f"llama_proj.{leaf}" if layer == "projection" else inner] = parameter
    return named
