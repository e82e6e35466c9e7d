"""A run's steps: the learning rates, what clips the gradients, what is computed in which precision, what is logged."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.training.lora import LinearWarmupDecay
from pandagpt_core.training.tune.devices import mixed_precision
from pandagpt_core.training.tune.record import loss_figure, read_log, smoothed
from pandagpt_core.training.tune.run import train
from pandagpt_core.training.tune.settings import TuneSettings

Make = Callable[..., TuneSettings]
FIELDS = {"step", "loss", "accuracy", "epoch", "lr", "grad_norm", "answer_tokens", "seconds"}


def adapter(settings: TuneSettings) -> dict[str, torch.Tensor]:
    return load_file(train(settings).written["model"] / "adapter.safetensors")


def test_the_rate_rises_over_the_warm_up_and_falls_to_nothing_in_a_line() -> None:
    factors = [LinearWarmupDecay(100, 0.1)(step) for step in range(101)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10:] == pytest.approx([(100 - step) / 90 for step in range(10, 101)])
    assert LinearWarmupDecay(5, 0.0)(0) == 1.0


def test_the_log_has_every_field_and_the_rate_that_was_used(make_settings: Make, golden: Path) -> None:
    settings = make_settings(train={"max_steps": 6, "warmup": 0.34, "lr": 4e-3})
    train(settings)
    log = read_log(Path(settings.out))
    assert all(line.keys() == FIELDS for line in log)
    assert [line["step"] for line in log] == [1, 2, 3, 4, 5, 6]
    assert [line["lr"] for line in log] == pytest.approx([2e-3, 4e-3, 4e-3, 3e-3, 2e-3, 1e-3])
    assert [line["epoch"] for line in log] == pytest.approx([4 * step / 6 for step in range(1, 7)], abs=1e-4)
    assert all(0 <= line["accuracy"] <= 1 and line["grad_norm"] > 0 and line["seconds"] > 0 for line in log)
    # Three steps of four are two epochs of six conversations: each answer's tokens twice.
    tokenizer = load_tokenizer(golden / "pandagpt-tiny" / "vicuna_tiny")
    for first in (0, 3):
        assert sum(line["answer_tokens"] for line in log[first : first + 3]) == 2 * every_answer(settings, tokenizer)


def every_answer(settings: TuneSettings, tokenizer: Any) -> int:
    """Tokens that one epoch learns."""
    from pandagpt_core.training.batch import IGNORED
    from pandagpt_core.training.conversations import tokenize_conversation
    from pandagpt_core.training.tune.data.samples import read_samples

    samples = read_samples([Path(file) for file in settings.data.files])
    laid = [tokenize_conversation(one.turns, tokenizer, tokenizer.bos_id, settings.data.max_tokens) for one in samples]
    return sum(target != IGNORED for one in laid for target in one.targets[1:])


def test_gradients_are_clipped(make_settings: Make) -> None:
    """Adam takes no notice of a gradient's size, except against the 1e-8 in its denominator."""
    free, held = (
        adapter(make_settings(f"clip-{clip}", train={"max_steps": 2, "clip": clip, "weight_decay": 0.0}))
        for clip in (1.0, 1e-11)
    )
    moved = [name for name in free if name.endswith("lora_B.weight")]
    assert min(float(free[name].abs().max()) for name in moved) > 1e-3
    assert max(float(held[name].abs().max()) for name in moved) < 1e-4


def test_the_projection_may_have_a_rate_of_its_own(make_settings: Make, tiny_folder: Path) -> None:
    before = load_file(tiny_folder / "adapter.safetensors")["projection.weight"]
    moved = []
    for rate in (0.0, 1e-9):
        train_as = {"max_steps": 2, "lr": 5e-3, "projection_lr": rate, "weight_decay": 0.0}
        after = adapter(make_settings(f"rate-{rate}", lora={"start": "folder"}, train=train_as))
        moved.append(float((after["projection.weight"] - before).abs().max()))
    assert moved[0] > 4e-3
    assert moved[1] < 1e-7


@pytest.mark.parametrize(
    ("asked", "gpu", "given"),
    [("auto", True, "bf16"), ("auto", False, "no"), ("bf16", False, "bf16"), ("fp32", True, "no")],
)
def test_auto_is_bfloat16_on_a_gpu_that_has_it_and_there_alone(asked: str, gpu: bool, given: str) -> None:
    assert mixed_precision(asked, gpu_with_bf16=gpu) == given


@pytest.mark.parametrize(("asked", "said"), [("auto", "1 x cpu, float32"), ("bf16", "1 x cpu, bf16")])
def test_a_run_says_what_it_computes_in(asked: str, said: str, make_settings: Make) -> None:
    told: list[str] = []
    train(make_settings(train={"max_steps": 1, "precision": asked}), report=told.append)
    assert told[0].endswith(f"on {said}")


def test_the_plot_draws_each_loss_the_smoothed_ones_and_the_rate() -> None:
    log = [{"step": step, "loss": 4.0 / step, "lr": 0.1 * step} for step in (1, 2, 4)]
    losses, rate = loss_figure(log, "loss, nats").axes
    drawn = [[list(values) for values in line.get_data()] for line in losses.get_lines()]
    assert drawn == [[[1, 2, 4], [4.0, 2.0, 1.0]], [[1, 2, 4], smoothed([4.0, 2.0, 1.0])]]
    assert smoothed([4.0, 2.0, 1.0], window=2) == [4.0, 3.0, 1.5]
    assert [list(values) for values in rate.get_lines()[0].get_data()] == [[1, 2, 4], [0.1, 0.2, 0.4]]
    assert (losses.get_xlabel(), losses.get_ylabel(), rate.get_ylabel()) == ("step", "loss, nats", "learning rate")


class Headstrong(Accelerator):
    """As accelerate is with a DeepSpeed configuration that has an accumulation of its own."""

    def prepare(self, *parts: Any, **how: Any) -> Any:
        prepared = super().prepare(*parts, **how)
        self.gradient_accumulation_steps = 3
        return prepared


def test_another_accumulation_than_the_runs_is_refused_with_both(make_settings: Make) -> None:
    settings = make_settings(train={"max_steps": 1, "batch": 4, "micro_batch": 2})
    with pytest.raises(InvalidRequest, match=r"has gradient_accumulation_steps 3, .* make it 2; leave it out there"):
        train(settings, open_devices=lambda _settings: Headstrong(cpu=True))
    assert read_log(Path(settings.out)) == []
