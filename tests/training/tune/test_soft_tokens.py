"""Runs whose model has several soft tokens a medium: trained parts, results, and refusals."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pandagpt_core.checkpoints import (
    ADAPTER,
    ENCODER,
    RESAMPLER,
    PandaGPTFolder,
    ProjectionSpec,
    RetrievalSpec,
    read_folder_of,
)
from pandagpt_core.encoders.resampler import PerceiverResampler
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.loading import load_model
from pandagpt_core.media import Limits, load
from pandagpt_core.systems import LoadOptions, load_system
from pandagpt_core.training.batch import MediumTokens, answer_sums, collate
from pandagpt_core.training.tune.model import read_media, resampled
from pandagpt_core.training.tune.record import read_log
from pandagpt_core.training.tune.run import build_of, train, trainable_folder
from pandagpt_core.training.tune.settings import TuneSettings, parse_tune_settings
from pandagpt_core.training.tune.soft_tokens import fresh_spec, resampler_spec
from pandagpt_core.types import Conversation, MediaUse, Modality, SamplingParams, Turn
from tests.soft_tokens import random_resampler, spec_of, with_soft_tokens
from tests.training.processes import train_by_two

Make = Callable[..., TuneSettings]
K = 4
SIZES = {"width": 16, "heads": 2, "layers": 1}


@pytest.fixture
def make(make_settings: Make) -> Make:
    """Settings of a run with `soft_tokens`, and a small resampler; `model` is another base."""

    def settings(out: str = "run", soft_tokens: int = K, model: Path | None = None, **changes: Any) -> TuneSettings:
        said = msgspec.to_builtins(make_settings(out, **changes))
        said |= {"soft_tokens": soft_tokens, "resampler": SIZES}
        return parse_tune_settings(said | ({"model": str(model)} if model is not None else {}))

    return settings


def losses(settings: TuneSettings) -> list[float]:
    return [line["loss"] for line in read_log(Path(settings.out))]


def answer(model: Path, picture: Path) -> str:
    runtime = load_model(model)
    array = load(runtime.info.recipes[Modality.IMAGE], picture.read_bytes(), {}, Limits())
    asked = Conversation((Turn("user", "What is it?"),), (MediaUse(Modality.IMAGE, "a", 0),))
    rows = runtime.encode(Modality.IMAGE, [array])
    runtime.admit(SequenceRequest("a", asked, rows, SamplingParams(max_tokens=12, temperature=0.0)))
    text = ""
    while runtime.has_work:
        text += "".join(output.text for output in runtime.step())
    return text.strip()


def test_a_run_lowers_the_loss_and_its_folder_is_served_with_k_rows(
    make: Make, tiny_folder: Path, pictures: Path
) -> None:
    settings = make(lora={"r": 16, "alpha": 32}, train={"max_steps": 40, "lr": 2e-2})
    told: list[str] = []
    made = train(settings, report=told.append).written["model"]
    seen = losses(settings)
    assert seen[-1] < 0.3 * seen[0]
    folder = read_folder_of(made, PandaGPTFolder)
    assert folder.soft_tokens == fresh_spec(read_folder_of(tiny_folder, PandaGPTFolder), K, settings.resampler)
    before, after = load_file(tiny_folder / ENCODER), load_file(made / ENCODER)
    assert all(torch.equal(before[name], after[name]) for name in before)
    resampler = load_file(made / RESAMPLER)
    assert float(resampler["towers.vision.out.weight"].abs().max()) > 0
    assert float(resampler["towers.audio.out.weight"].abs().max()) == 0, "no sound was learned from"
    system = load_system(made, LoadOptions())
    assert system.encode(Modality.IMAGE, [np.ones((1, 3, 224, 224), np.float32)]).shape == (1, 1 + K, 32)
    assert answer(made, pictures / "red.png").startswith("It is ")


def test_only_resampler_projection_and_lora_have_gradients(make: Make, tiny_folder: Path) -> None:
    settings = make()
    tuned = build_of(tiny_folder, trainable_folder(tiny_folder), settings)
    trained = {name.split(".")[0] for name, parameter in tuned.named_parameters() if parameter.requires_grad}
    assert trained == {"llm", "projection", "resampler"}
    llm = [name for name, parameter in tuned.llm.named_parameters() if parameter.requires_grad]
    assert llm
    assert all(name.endswith((".a", ".b")) for name in llm)


def test_the_loss_before_the_first_step_is_that_of_k_times_the_vector(make: Make, tiny_folder: Path) -> None:
    """And the prompt that is learned is the one that is served: the same rows at the same places."""
    folder = read_folder_of(tiny_folder, PandaGPTFolder)
    assert folder.lora is not None
    own = {"r": folder.lora.r, "alpha": folder.lora.alpha, "targets": list(folder.lora.targets)}
    settings = make(lora={"start": "folder", **own}, train={"max_steps": 1, "lr": 1e-9})
    made = train(settings).written["model"]
    system, untrained = (load_system(path, LoadOptions()) for path in (made, tiny_folder))
    array = np.random.default_rng(0).standard_normal((1, 3, 224, 224), dtype=np.float32)
    asked = Conversation((Turn("user", "What is it?"),), (MediaUse(Modality.IMAGE, "a", 0),))
    soft = system.prepare(asked, list(system.encode(Modality.IMAGE, [array])))
    plain = untrained.prepare(asked, list(untrained.encode(Modality.IMAGE, [array])))
    [at] = [index for index, token in enumerate(plain.ids) if token < 0]
    torch.testing.assert_close(soft.embeds[at : at + K], plain.embeds[at].expand(K, -1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(soft.embeds[at + K :], plain.embeds[at + 1 :], atol=1e-4, rtol=1e-4)


def test_tokens_are_encoded_once_and_a_run_that_goes_on_draws_the_same_curve(make: Make) -> None:
    whole, parts = make("whole", train={"max_steps": 4}), make("parts", train={"max_steps": 4})
    train(whole)
    train(parts, stop_after=2)
    train(parts, resume=True)
    assert losses(whole) == losses(parts)
    states = [load_file(Path(one.out) / "model" / RESAMPLER) for one in (whole, parts)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_two_processes_give_the_losses_of_one(make: Make, tmp_path: Path, root: Path) -> None:
    """Though no batch has media of every tower, whose resamplers then have no gradient of their own."""
    one = make("one", train={"max_steps": 2, "micro_batch": 4})
    two = make("two", features={"cache": str(tmp_path / "two-features")}, train={"max_steps": 2})
    train(one)
    train_by_two(two, tmp_path / "two.json", root)
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)


def test_a_run_goes_on_with_the_folders_resampler_and_is_served_as_it_was(
    make: Make, tiny_folder: Path, tmp_path: Path
) -> None:
    soft = with_soft_tokens(tiny_folder, tmp_path / "soft", K)
    folder = read_folder_of(soft, PandaGPTFolder)
    assert folder.lora is not None
    own = {"start": "folder", "r": folder.lora.r, "alpha": folder.lora.alpha, "targets": list(folder.lora.targets)}
    made = train(make(soft_tokens=0, model=soft, lora=own, train={"max_steps": 1, "lr": 1e-9})).written["model"]
    assert read_folder_of(made, PandaGPTFolder).soft_tokens == folder.soft_tokens
    before, after = load_file(soft / RESAMPLER), load_file(made / RESAMPLER)
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    with pytest.raises(InvalidRequest, match=r"soft_tokens is 3, the model folder's resampler .* has 4"):
        resampler_spec(folder, make("other", soft_tokens=3, model=soft, lora=own))


def test_one_soft_token_is_the_paper_again(make: Make, tiny_folder: Path, tmp_path: Path) -> None:
    soft = with_soft_tokens(tiny_folder, tmp_path / "soft", K)
    made = train(make(soft_tokens=1, model=soft, train={"max_steps": 1})).written["model"]
    folder = read_folder_of(made, PandaGPTFolder)
    assert folder.soft_tokens is None
    assert RESAMPLER not in folder.files
    assert not (made / RESAMPLER).exists()
    plain = train(make_plain(make, tiny_folder)).written["model"]
    adapters = [load_file(path / ADAPTER) for path in (made, plain)]
    assert all(torch.equal(adapters[0][name], adapters[1][name]) for name in adapters[0])


def make_plain(make: Make, base: Path) -> TuneSettings:
    return make("plain", soft_tokens=0, model=base, train={"max_steps": 1})


def test_the_rows_that_are_learned_from_are_those_that_are_served(tiny_folder: Path, tmp_path: Path) -> None:
    """Means over clips, texts with an end, media of several towers in one batch."""
    folder = read_folder_of(tiny_folder, PandaGPTFolder)
    spec = spec_of(folder, K)
    resampler = random_resampler(spec, 32)
    chance = torch.Generator().manual_seed(1)
    ends = torch.tensor([[True, True, False], [True, True, True]])
    media = (
        MediumTokens("vision", torch.randn(1, 5, spec.towers["vision"], generator=chance)),
        MediumTokens("audio", torch.randn(3, 7, spec.towers["audio"], generator=chance)),
        MediumTokens("text", torch.randn(2, 3, spec.towers["text"], generator=chance), ends),
        MediumTokens("vision", torch.randn(2, 5, spec.towers["vision"], generator=chance)),
    )
    for found, medium in zip(read_media(resampler, media), media, strict=True):
        alone = resampler.towers[medium.tower](medium.tokens, medium.keep).mean(dim=0)
        torch.testing.assert_close(found, alone)


def test_media_of_one_conversation_are_summed_row_by_row(make: Make, tiny_folder: Path) -> None:
    """The embeddings that a batch trains on are those that the system composes."""
    settings = make()
    tuned = build_of(tiny_folder, trainable_folder(tiny_folder), settings)
    assert isinstance(tuned.resampler, PerceiverResampler)
    chance = torch.Generator().manual_seed(1)
    vectors = torch.randn(2, 32, generator=chance)
    media = tuple(MediumTokens("vision", torch.randn(1, 5, 64, generator=chance)) for _ in range(2))
    torch.nn.init.normal_(tuned.resampler.towers["vision"].out.weight, std=0.3)
    ids = (1, *[None] * K, 5, 6)
    rows = [row for vector in vectors for row in vector.expand(K, -1)]
    batch = collate([ids], [(-100,) * (1 + K) + (5, 6)], [rows], 32)
    read = resampled(tuned.resampler, dataclasses.replace(batch, media=media))
    expected = [
        vector + tuned.resampler.towers["vision"](one.tokens, None)[0]
        for vector, one in zip(vectors, media, strict=True)
    ]
    torch.testing.assert_close(read.vectors, torch.cat(expected))
    assert read.places.tolist() == [*range(1, 1 + K)] * 2
    assert float(answer_sums(tuned.llm, tuned.projection, read).loss.detach()) > 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"output": {"original": True}}, "output.original has no place for a resampler"),
        ({"soft_tokens": 300}, r"soft_tokens is 300; expected `int` <= 256"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused_by_its_key(change: dict[str, Any], told: str, make: Make) -> None:
    with pytest.raises(InvalidRequest, match=told):
        train(make(**change))


def test_a_resampler_whose_heads_do_not_divide_its_width_is_refused(make: Make, tiny_folder: Path) -> None:
    folder = read_folder_of(tiny_folder, PandaGPTFolder)
    sizes = msgspec.structs.replace(make().resampler, heads=3)
    with pytest.raises(InvalidRequest, match=r"resampler\.width is 16, no multiple of resampler\.heads, 3"):
        fresh_spec(folder, K, sizes)


def test_a_folder_that_recalls_its_one_vector_is_refused(make: Make, tiny_folder: Path) -> None:
    recall = RetrievalSpec(directions=4, sharpness=2.0)
    folder = msgspec.structs.replace(
        read_folder_of(tiny_folder, PandaGPTFolder), projection=ProjectionSpec(32, 64, recall)
    )
    with pytest.raises(InvalidRequest, match=r"soft_tokens is 4; tiny has projection\.recall"):
        resampler_spec(folder, make())
