"""A training run as a whole: its learning, its division of a batch, its continuation, its refusals."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pandagpt_core.checkpoints import PandaGPTFolder, read_model_folder
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.loading import load_model
from pandagpt_core.media import Limits, load
from pandagpt_core.runtime import Runtime
from pandagpt_core.training.tune.data.encode import Encode
from pandagpt_core.training.tune.data.prepare import OpenEncoder
from pandagpt_core.training.tune.record import read_log
from pandagpt_core.training.tune.run import TrainResult, train
from pandagpt_core.training.tune.settings import TuneSettings
from pandagpt_core.types import Conversation, MediaUse, Modality, SamplingParams, Turn
from tests.training.processes import train_by_two

Make = Callable[..., TuneSettings]


class CountingEncoder:
    """A medium's vector is made of its mean colours; how often it was opened and what it saw is counted."""

    def __init__(self) -> None:
        self.opened, self.saw = 0, 0

    def __call__(self, path: Path, folder: PandaGPTFolder, device: str) -> Encode:
        self.opened += 1
        return self.encode

    def encode(self, modality: Modality, arrays: Sequence[np.ndarray]) -> torch.Tensor:
        self.saw += len(arrays)
        means = [torch.from_numpy(array).mean(dim=(0, 2, 3)) for array in arrays]  # [3] each
        return torch.stack([mean.repeat(11)[:32] for mean in means])


def losses(settings: TuneSettings) -> list[float]:
    return [line["loss"] for line in read_log(Path(settings.out))]


def run(settings: TuneSettings, encoder: OpenEncoder | None = None, **how: Any) -> TrainResult:
    return train(settings, open_encoder=encoder or CountingEncoder(), **how)


def test_a_run_lowers_the_loss_and_what_it_writes_is_served(make_settings: Make, pictures: Path) -> None:
    settings = make_settings(lora={"r": 16, "alpha": 32}, train={"max_steps": 60, "lr": 2e-2}, output={"id": "colours"})
    told: list[str] = []
    result = train(settings, report=told.append)
    assert "trains" in told[0]
    assert "%" in told[0]
    seen = losses(settings)
    assert len(seen) == result.steps == result.step == 60
    assert seen[-1] < 0.2 * seen[0]
    assert result.written["plot"].stat().st_size > 1000
    runtime = load_model(result.written["model"])
    assert runtime.info.id == "colours"
    assert answer(runtime, pictures / "red.png").startswith("It is ")


def answer(runtime: Runtime, picture: Path) -> str:
    array = load(runtime.info.recipes[Modality.IMAGE], picture.read_bytes(), {}, Limits())
    asked = Conversation((Turn("user", "What is it?"),), (MediaUse(Modality.IMAGE, "a", 0),))
    params = SamplingParams(max_tokens=12, temperature=0.0)
    runtime.admit(SequenceRequest("a", asked, runtime.encode(Modality.IMAGE, [array]), params))
    text = ""
    while runtime.has_work:
        text += "".join(output.text for output in runtime.step())
    return text.strip()


def test_a_run_that_goes_on_draws_the_very_same_curve(make_settings: Make) -> None:
    chance = {"lora": {"dropout": 0.3}, "train": {"max_steps": 5}}
    whole, parts = make_settings("whole", **chance), make_settings("parts", **chance)
    run(whole)
    assert run(parts, stop_after=3).written.keys() == {"log", "plot"}
    result = run(parts, resume=True)
    drop = ("seconds",)
    logs = [
        [{k: v for k, v in line.items() if k not in drop} for line in read_log(Path(s.out))] for s in (whole, parts)
    ]
    assert logs[0] == logs[1]
    adapters = [load_file(Path(s.out) / "model" / "adapter.safetensors") for s in (whole, parts)]
    assert all(torch.equal(adapters[0][name], adapters[1][name]) for name in adapters[0])
    assert result.step == 5


def test_steps_after_the_checkpoint_are_forgotten_when_a_run_goes_on(make_settings: Make) -> None:
    settings = make_settings(train={"max_steps": 4}, output={"checkpoint_every": 2})
    run(settings, stop_after=2)
    log = Path(settings.out) / "log.jsonl"
    log.write_text(log.read_text() + json.dumps({"step": 3, "loss": 99.0}) + "\n" + '{"step": 4, "lo')
    run(settings, resume=True)
    assert [line["step"] for line in read_log(Path(settings.out))] == [1, 2, 3, 4]
    assert max(losses(settings)) < 99.0


def test_a_medium_is_encoded_once_for_all_epochs_and_all_runs(make_settings: Make, pictures: Path) -> None:
    encoder = CountingEncoder()
    run(make_settings("first", train={"epochs": 3}), encoder)
    assert (encoder.opened, encoder.saw) == (1, 6)
    run(make_settings("second"), encoder)
    assert (encoder.opened, encoder.saw) == (1, 6)


def test_a_changed_picture_is_encoded_anew_and_a_renamed_one_is_not(make_settings: Make, tmp_path: Path) -> None:
    encoder, data = CountingEncoder(), tmp_path / "own"
    data.mkdir()
    write_pictures(data, {"a.png": "red", "b.png": "blue"})
    own = {"files": [str(data / "data.json")], "media": str(data)}
    run(make_settings("first", data=own, train={"max_steps": 1}), encoder)
    (data / "a.png").rename(data / "c.png")
    write_pictures(data, {"b.png": "green"}, names=["b.png", "c.png"])
    run(make_settings("second", data=own, train={"max_steps": 1}), encoder)
    assert encoder.saw == 3


def write_pictures(folder: Path, colours: dict[str, str], names: Sequence[str] = ()) -> None:
    for name, colour in colours.items():
        Image.new("RGB", (24, 24), colour).save(folder / name)
    said = [{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": "It is it."}]
    entries = [{"image_name": name, "conversation": said} for name in names or colours]
    (folder / "data.json").write_text(json.dumps(entries))


def test_losses_do_not_depend_on_how_a_batch_is_divided(make_settings: Make) -> None:
    whole, divided = (make_settings(f"micro-{n}", train={"max_steps": 3, "micro_batch": n}) for n in (4, 1))
    run(whole)
    run(divided)
    assert losses(divided) == pytest.approx(losses(whole), rel=1e-5)


def test_activations_computed_again_give_the_same_losses_dropout_included(make_settings: Make) -> None:
    chance = {"lora": {"dropout": 0.3}}
    kept = make_settings("kept", **chance, train={"max_steps": 3})
    again = make_settings("again", **chance, train={"max_steps": 3, "checkpointing": True})
    run(kept)
    run(again)
    assert losses(again) == pytest.approx(losses(kept), rel=1e-6)


def test_bfloat16_comes_near_to_float32(make_settings: Make) -> None:
    settings = make_settings(train={"max_steps": 2, "precision": "bf16"})
    run(settings)
    [first, second] = losses(settings)
    assert second < first


def test_two_processes_give_the_losses_of_one_with_the_double_micro_batch(
    make_settings: Make, tmp_path: Path, root: Path
) -> None:
    one = make_settings("one", train={"max_steps": 3, "micro_batch": 4})
    # With a cache of its own: each process encodes its share of the media.
    two = make_settings("two", features={"cache": str(tmp_path / "two-features")}, train={"max_steps": 3})
    train(one)
    train_by_two(two, tmp_path / "two.json", root)
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)
    assert (Path(two.out) / "model" / "config.json").is_file()


def test_without_resume_a_run_folder_is_not_written_over(make_settings: Make) -> None:
    settings = make_settings(train={"max_steps": 1})
    run(settings)
    with pytest.raises(InvalidRequest, match="holds a run already"):
        run(settings)


def test_a_run_without_a_checkpoint_begins_again_only_on_request(make_settings: Make) -> None:
    settings = make_settings(train={"max_steps": 2})
    out = Path(settings.out)
    out.mkdir()
    died = '{"step": 1, "loss": 9.0}\n{"step": 2, "loss": 8.0}\n{"step": 3, "lo'
    (out / "log.jsonl").write_text(died)
    with pytest.raises(InvalidRequest, match=r"ended after 2 steps, before its first checkpoint; --resume begins it"):
        run(settings)
    assert (out / "log.jsonl").read_text() == died
    told: list[str] = []
    run(settings, resume=True, report=told.append)
    assert "begins again: of the 2 steps in the log there is no checkpoint" in told
    assert [line["step"] for line in read_log(out)] == [1, 2]
    assert max(losses(settings)) < 8.0


def test_a_run_that_is_told_otherwise_does_not_go_on(make_settings: Make) -> None:
    run(make_settings(train={"max_steps": 2}), stop_after=1)
    with pytest.raises(InvalidRequest, match=r"train\.lr was 0\.005, it is 0\.001"):
        run(make_settings(train={"max_steps": 2, "lr": 1e-3}), resume=True)


def test_media_that_are_missing_or_broken_are_told_with_file_and_index(make_settings: Make, tmp_path: Path) -> None:
    data = tmp_path / "own"
    data.mkdir()
    write_pictures(data, {"good.png": "red"}, names=["good.png", "gone.png", "bad.png"])
    (data / "bad.png").write_bytes(b"no picture")
    own = {"files": [str(data / "data.json")], "media": str(data)}
    with pytest.raises(InvalidRequest) as refused:
        run(make_settings(data=own))
    assert "2 conversations cannot be learned from" in refused.value.message
    assert "data.json[1]: gone.png: No such file" in refused.value.message
    assert "data.json[2]: bad.png: " in refused.value.message
    told: list[str] = []
    run(make_settings("skipping", data={**own, "broken": "skip"}, train={"max_steps": 1}), report=told.append)
    assert [line for line in told if line.startswith("left out data.json[1]: gone.png")]
    assert [line for line in told if line.startswith("1 conversations")]


@pytest.mark.parametrize(
    ("most", "words", "told"),
    [
        (512, "word " * 200, r"data\.json\[0\]: it has \d+ tokens, the model's context holds 128"),
        (3, "word", r"data\.json\[0\]: nothing of its answers is within the \d+ tokens that data\.max_tokens leaves"),
    ],
)
def test_a_conversation_too_long_for_the_model_or_the_cut_is_told(
    most: int, words: str, told: str, make_settings: Make, tmp_path: Path
) -> None:
    said = [{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": words}]
    (tmp_path / "data.json").write_text(json.dumps([{"conversation": said}]))
    with pytest.raises(InvalidRequest, match=told):
        run(make_settings(data={"files": [str(tmp_path / "data.json")], "max_tokens": most}))


def test_a_batch_that_does_not_divide_is_refused_with_the_numbers(make_settings: Make) -> None:
    with pytest.raises(InvalidRequest, match=r"train\.batch is 4; 1 processes with a train\.micro_batch of 3"):
        run(make_settings(train={"micro_batch": 3}))


def test_a_target_that_the_model_lacks_is_refused_with_those_it_has(make_settings: Make) -> None:
    with pytest.raises(InvalidRequest, match=r"lora\.targets has w_proj; the language model has down_proj, gate_proj"):
        run(make_settings(lora={"targets": ["q_proj", "w_proj"]}))


def test_a_folders_own_adapter_is_trained_on(make_settings: Make, tiny_folder: Path) -> None:
    settings = make_settings(lora={"start": "folder"}, train={"max_steps": 1, "lr": 1e-9})
    result = run(settings)
    before, after = (load_file(path / "adapter.safetensors") for path in (tiny_folder, result.written["model"]))
    assert before.keys() == after.keys()
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    with pytest.raises(InvalidRequest, match=r"lora\.r is 8, the model folder's LoRA that it goes on with has 4"):
        run(make_settings("other", lora={"start": "folder", "r": 8}))


def test_only_the_newest_checkpoints_stay(make_settings: Make) -> None:
    settings = make_settings(train={"max_steps": 4}, output={"checkpoint_every": 1, "keep": 2})
    run(settings)
    kept = sorted(path.name for path in (Path(settings.out) / "checkpoints").iterdir())
    assert kept == ["step-000003", "step-000004"]


def test_the_frozen_files_are_the_bases_own(make_settings: Make, tiny_folder: Path) -> None:
    result = run(make_settings(train={"max_steps": 1}))
    base, made = read_model_folder(tiny_folder), read_model_folder(result.written["model"])
    assert {k: v for k, v in made.files.items() if k != "adapter.safetensors"} == {
        k: v for k, v in base.files.items() if k != "adapter.safetensors"
    }
    assert made.files["adapter.safetensors"] != base.files["adapter.safetensors"]
    assert made.provenance["base"]["id"] == "tiny"
