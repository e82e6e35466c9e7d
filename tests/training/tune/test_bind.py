"""ImageBind-LLM's two phases: losses, trained names and gradients are the original's; a run resumes and is served."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pandagpt_core.checkpoints import ADAPTER, ImageBindLLMFolder, read_folder_of
from pandagpt_core.convert.imagebind_llm import ImageBindLLMOptions, convert_imagebind_llm
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.training.batch import IGNORED, Batch
from pandagpt_core.training.conversations import ChatTurn
from pandagpt_core.training.tune.bind_model import Phase, TrainableBind, build_bind
from pandagpt_core.training.tune.data.layout import layout_of
from pandagpt_core.training.tune.record import read_log
from pandagpt_core.training.tune.run import train
from pandagpt_core.training.tune.settings import TuneSettings, parse_tune_settings
from pandagpt_core.types import Conversation, MediaUse, Modality, SamplingParams, Turn
from tests.parity.bind_tiny import SIZES, Golden, convert, originals

LOSS, GRADIENT = 1e-5, 1e-4  # the golden set's relative tolerances
PHASES: tuple[Phase, ...] = ("pretrain", "finetune")
HALVES = {"l1": "a", "l2": "b"}
LINEARS = {
    "wq": "self_attn.q_proj",
    "wk": "self_attn.k_proj",
    "wv": "self_attn.v_proj",
    "wo": "self_attn.o_proj",
    "w1": "mlp.gate_proj",
    "w2": "mlp.down_proj",
    "w3": "mlp.up_proj",
}
NORMS = {"attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}


@pytest.fixture(scope="module")
def folder(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(golden, tmp_path_factory.mktemp("models"))[0]


@pytest.fixture(scope="module")
def said(golden: Path) -> Golden:
    return Golden.read(golden)


def model_of(folder: Path, phase: Phase) -> TrainableBind:
    described = read_folder_of(folder, ImageBindLLMFolder)
    return build_bind(folder, described, phase, described.bind.features, 0.0)


def original_batch(said: Golden, phase: Phase) -> Batch:
    """The original's own tokens and labels, a picture for each sequence; labels that are 0 are not learned."""
    tokens, labels = said.tensors[f"train_{phase}/tokens"], said.tensors[f"train_{phase}/labels"]
    targets = labels.masked_fill(labels == 0, IGNORED)
    count = len(tokens)
    return Batch(
        tokens=tokens,
        targets=targets,
        keep=torch.ones_like(tokens, dtype=torch.bool),
        soft=torch.zeros_like(tokens, dtype=torch.bool),
        vectors=said.images(count),
        weights=torch.ones(count),
        rows=torch.arange(count),
        places=torch.zeros(count, dtype=torch.long),
    )


def ours(name: str) -> str:
    """Our parameter's name by the original's."""
    parts = name.removeprefix("llama.").split(".")
    if parts[0] == "norm":
        return "llm.model.norm.weight"
    layer = f"llm.model.layers.{parts[1]}"
    if parts[2] in NORMS:
        return f"{layer}.{NORMS[parts[2]]}.weight"
    if parts[3].startswith("lora_"):
        _, linear, half = parts[3].split("_")
        return f"{layer}.{LINEARS[linear]}.{HALVES[half]}"
    return f"{layer}.{LINEARS[parts[3]]}.base.bias"


@pytest.mark.parametrize("phase", PHASES)
def test_loss_names_and_gradients_are_the_originals(folder: Path, said: Golden, phase: Phase) -> None:
    model, batch, about = model_of(folder, phase), original_batch(said, phase), said.said[f"train_{phase}"]
    loss = model(batch).loss / batch.learned
    torch.testing.assert_close(loss.detach()[None], said.tensors[f"train_{phase}/loss"], rtol=LOSS, atol=0)
    loss.backward()
    norms = {name: value.grad.norm().item() for name, value in model.named_parameters() if value.grad is not None}
    wanted = dict(about["grad_norms"])
    found = finetuned(norms) if phase == "finetune" else pretrained(model, norms)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=GRADIENT), name


def finetuned(norms: dict[str, float]) -> dict[str, float]:
    """By the original's names; the order of the rows of queries and keys changes no norm."""
    layers = range(3)
    names = ["llama.norm.weight"]
    names += [f"llama.layers.{layer}.{norm}.weight" for layer in layers for norm in NORMS]
    for layer in layers:
        for linear in LINEARS:
            part = "attention" if len(linear) == 2 and linear[1].isalpha() else "feed_forward"
            names += [f"llama.layers.{layer}.{part}.lora_{linear}_{half}.weight" for half in HALVES]
            if linear not in ("wk", "wv"):
                names.append(f"llama.layers.{layer}.{part}.{linear}.bias")
    by_ours = {ours(name): name for name in names}
    assert norms.keys() == by_ours.keys()
    return {by_ours[name]: value for name, value in norms.items()}


def pretrained(model: TrainableBind, norms: dict[str, float]) -> dict[str, float]:
    kinds = {"norm": "norm", "gate_proj": "f1", "up_proj": "f3", "down_proj": "f2"}
    gates = model.prefix.gates.grad
    assert gates is not None
    found = {
        "prefix_query.weight": norms["prefix.queries"],
        **{f"image_bind_proj.{kind}": norms[f"network.proj.{kind}"] for kind in ("weight", "bias")},
        **{f"llama.layers.{layer}.attention.gate": gates[layer - 1].norm().item() for layer in (1, 2)},
    }
    for block in range(3):
        for kind, old in kinds.items():
            found[f"image_bind_{old}_{block + 1}.weight"] = norms[f"network.blocks.{block}.{kind}.weight"]
    assert len(norms) == len(found) - 1  # both gates are one tensor of ours
    return found


@pytest.mark.parametrize(
    ("phase", "name", "mine"),
    [
        ("pretrain", "image_bind_f3_3.weight", "network.blocks.2.up_proj.weight"),
        ("pretrain", "image_bind_norm_2.weight", "network.blocks.1.norm.weight"),
        ("pretrain", "image_bind_proj.weight", "network.proj.weight"),
        ("pretrain", "prefix_query.weight", "prefix.queries"),
        ("finetune", "llama.norm.weight", "llm.model.norm.weight"),
        ("finetune", "llama.layers.0.ffn_norm.weight", "llm.model.layers.0.post_attention_layernorm.weight"),
        ("finetune", "llama.layers.1.attention.lora_wv_l2.weight", "llm.model.layers.1.self_attn.v_proj.b"),
        ("finetune", "llama.layers.2.feed_forward.lora_w2_l1.weight", "llm.model.layers.2.mlp.down_proj.a"),
    ],
)
def test_gradients_are_the_originals_number_by_number(
    folder: Path, said: Golden, phase: Phase, name: str, mine: str
) -> None:
    model, batch = model_of(folder, phase), original_batch(said, phase)
    (model(batch).loss / batch.learned).backward()
    expected = said.tensors[f"train_{phase}/grad/{name}"]
    found = dict(model.named_parameters())[mine].grad
    torch.testing.assert_close(found, expected, rtol=0, atol=GRADIENT * float(expected.abs().max()))


def test_conversations_are_laid_out_as_published_and_unknown_is_not_learned(folder: Path, said: Golden) -> None:
    described, tokenizer = read_folder_of(folder, ImageBindLLMFolder), load_tokenizer(folder / "llm")
    question, _, answer = said.said["train_finetune"]["pairs"][0]
    laid = layout_of(described, tokenizer, 150)([ChatTurn("human", question), ChatTurn("gpt", answer)], True)
    tokens, labels = (said.tensors[f"train_finetune/{kind}"][0] for kind in ("tokens", "labels"))
    assert list(laid.ids) == tokens[: len(laid.ids)].tolist()
    assert not tokens[len(laid.ids) :].any()
    assert [0 if target == IGNORED else target for target in laid.targets] == labels[: len(laid.ids)].tolist()
    cut = layout_of(described, tokenizer, 20)([ChatTurn("human", question), ChatTurn("gpt", answer)], False)
    assert cut.ids == laid.ids[:20]


Make = Callable[..., TuneSettings]


@pytest.fixture
def make(folder: Path, tmp_path: Path) -> Make:
    """Settings of a small run over pictures and a conversation without one."""
    entries: list[dict[str, Any]] = []
    for colour in ("red", "green", "blue", "white"):
        Image.new("RGB", (32, 32), colour).save(tmp_path / f"{colour}.png")
        turns = [{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": f"It is {colour}."}]
        entries.append({"image_name": f"{colour}.png", "conversation": turns})
    turns = [{"from": "human", "value": "Say yes."}, {"from": "gpt", "value": "Yes."}]
    entries.append({"conversation": turns})
    (tmp_path / "data.json").write_text(json.dumps(entries))

    def settings(out: str, phase: Phase, **train: Any) -> TuneSettings:
        return parse_tune_settings(
            {
                "model": str(folder),
                "out": str(tmp_path / out),
                "data": {"files": [str(tmp_path / "data.json")], "media": str(tmp_path)},
                "features": {"cache": str(tmp_path / "features"), "threads": 1},
                "bind": {"phase": phase},
                "train": {"batch": 4, "micro_batch": 2, "lr": 5e-3, "device": "cpu", "max_steps": 6, **train},
            }
        )

    return settings


@pytest.mark.parametrize("phase", PHASES)
def test_a_run_that_goes_on_gives_the_very_same_weights(make: Make, phase: Phase) -> None:
    whole, parts = make("whole", phase), make("parts", phase)
    made = train(whole).written["model"]
    train(parts, stop_after=3)
    again = train(parts, resume=True).written["model"]
    first, second = load_file(made / ADAPTER), load_file(again / ADAPTER)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("phase", PHASES)
def test_a_phase_lowers_the_loss_changes_only_its_own_weights_and_is_served(
    folder: Path, make: Make, phase: Phase
) -> None:
    settings = make("run", phase, max_steps=30)
    result = train(settings)
    losses = [line["loss"] for line in read_log(Path(settings.out))]
    assert losses[-1] < 0.8 * losses[0]
    before, after = load_file(folder / ADAPTER), load_file(result.written["model"] / ADAPTER)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.allclose(before[name].float(), after[name])}
    bridge = {name for name in before if name.startswith(("bind.", "prefix")) or name.endswith(".gate")}
    assert changed == (bridge if phase == "pretrain" else before.keys() - bridge)
    runtime = load_model(result.written["model"], RuntimeOptions(dtype="float32", runner="torch"))
    asked = Conversation((Turn("user", "What is it?"),), (MediaUse(Modality.IMAGE, "a", 0),))
    row = torch.ones(1, 32).numpy()
    runtime.admit(SequenceRequest("a", asked, [row], SamplingParams(max_tokens=4, temperature=0.0)))
    assert runtime.step()


def test_a_folder_without_an_adapter_answers_as_its_base_until_it_is_trained(
    golden: Path, make: Make, tmp_path: Path
) -> None:
    files = dataclasses.replace(originals(golden, tmp_path), adapter=None, cache=None)
    fresh = tmp_path / "fresh"
    convert_imagebind_llm(files, fresh, ImageBindLLMOptions("fresh", SIZES))
    row = torch.ones(1, 32).numpy()
    assert answer(fresh, row) == answer(fresh, None)
    settings = msgspec.structs.replace(make("run", "pretrain", max_steps=40, lr=2e-2), model=str(fresh))
    made = train(settings).written["model"]
    losses = [line["loss"] for line in read_log(Path(settings.out))]
    assert losses[-1] < losses[0]
    assert answer(made, None) == answer(fresh, None)
    assert answer(made, row) != answer(made, None)


def answer(folder: Path, row: Any) -> list[int]:
    """Greedy token ids, with a picture of this embedding or without one."""
    runtime = load_model(folder, RuntimeOptions(dtype="float32", runner="torch"))
    media = () if row is None else (MediaUse(Modality.IMAGE, "a", 0),)
    asked = Conversation((Turn("user", "What is it?"),), media)
    params = SamplingParams(max_tokens=12, temperature=0.0, ignore_eos=True)
    runtime.admit(SequenceRequest("a", asked, [] if row is None else [row], params))
    ids = []
    while runtime.has_work:
        ids += [output.token_id for output in runtime.step()]
    return ids


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Iterator[None]:
    from accelerate.state import AcceleratorState

    yield
    AcceleratorState._reset_state(reset_partial_state=True)
