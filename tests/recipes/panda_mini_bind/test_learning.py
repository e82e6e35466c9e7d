"""Data and state of the training: states that skip the lower layers, features that name their nearest concept, a loop
that goes on where it was stopped."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pandagpt_core.training.batch import collate
from pandagpt_core.training.log import Log
from recipes.panda_mini_bind.captions import Captioned, FeatureDraw
from recipes.panda_mini_bind.config import DrawConfig
from recipes.panda_mini_bind.training import first_matrix, paths, train_bind
from tests.recipes.panda_mini_bind.tiny import CAPTIONS, CONCEPTS, CONFIG, FEATURES, WIDTH, tiny


def examples(directions: torch.Tensor, which: Sequence[tuple[int, int]]) -> list[Captioned]:
    return [Captioned(directions[concept], question, concept) for question, concept in which]


def test_the_loss_is_that_of_the_whole_language_model() -> None:
    one = tiny()
    torch.nn.init.uniform_(one.model.prefix.gates)
    drawn = examples(one.directions, [(0, 0), (0, 2), (1, 1)])
    ids = [(*CAPTIONS.prompts[each.question], *CAPTIONS.answers[each.question][each.concept]) for each in drawn]
    targets = [
        (*[-100] * len(CAPTIONS.prompts[each.question]), *CAPTIONS.answers[each.question][each.concept])
        for each in drawn
    ]
    batch = collate(ids, targets, [[each.feature] for each in drawn], FEATURES)
    whole = one.model(batch)
    truncated, _ = one.loss(drawn)
    torch.testing.assert_close(truncated, whole.loss / batch.learned, rtol=2e-3, atol=2e-3)  # states are bfloat16
    torch.autograd.backward(truncated)
    assert one.model.network.proj.weight.grad is not None
    assert one.model.prefix.gates.grad is not None


def test_open_gates_add_a_concepts_name_before_anything_was_learned() -> None:
    one = tiny()
    names = torch.randn(CONCEPTS, WIDTH)
    matrix = first_matrix(paths(one.llm, 2), names, one.directions, 1e-6)
    added = one.directions @ matrix.T @ paths(one.llm, 2).T
    torch.testing.assert_close(added, names - names.mean(dim=0), rtol=1e-2, atol=5e-2)


def test_training_names_what_it_is_given(tmp_path: Path) -> None:
    one = tiny()
    asked = examples(one.directions, [(0, 0), (0, 1), (0, 2)])
    with torch.no_grad():
        before, guessed = one.loss(asked)
    train_bind(one.loss, one.draw, CONFIG, tmp_path / "state", Log())
    with torch.no_grad():
        after, right = one.loss(asked)
    assert float(after) < float(before)
    assert right > guessed
    assert one.model.prefix.gates.abs().max() > 0


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    def made(at: Path, *stops: int) -> dict[str, torch.Tensor]:
        one = tiny()
        for stop in stops:
            one = tiny()
            train_bind(one.loss, one.draw, CONFIG, at, Log(), stop)
        return {name: weight for name, weight in one.model.state_dict().items() if not name.startswith("llm.")}

    once, twice = made(tmp_path / "a", 4), made(tmp_path / "b", 2, 4)
    for name, tensor in once.items():
        torch.testing.assert_close(tensor, twice[name], rtol=0, atol=0)


@pytest.mark.parametrize("config", [DrawConfig(), DrawConfig(own=1, mix=0, noise=0)])
def test_a_feature_is_named_by_the_direction_it_is_nearest_to(config: DrawConfig) -> None:
    torch.manual_seed(0)
    directions = F.normalize(torch.randn(5, 8), dim=-1)
    draw = FeatureDraw(F.normalize(torch.randn(30, 8), dim=-1), directions, config).draw
    drawn = [draw(np.random.default_rng(seed)) for seed in range(60)]
    assert {one.concept for one in drawn} == set(range(5))
    for one in drawn:
        assert float(one.feature.norm()) == pytest.approx(1)
        assert int((directions @ one.feature).argmax()) == one.concept
