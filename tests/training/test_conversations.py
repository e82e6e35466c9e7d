"""Training against the original's own run of it: sequences, loss, token accuracy, gradients (golden/pandagpt-tiny)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from pandagpt_core.fusion import Projection
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.tokenizers.base import Tokenizer, load_tokenizer
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.training.batch import IGNORED, answer_sums, collate
from pandagpt_core.training.conversations import ChatTurn, TokenizedExample, tokenize_conversation
from pandagpt_core.training.lora import LoraConfig, LoraLinear, add_lora
from pandagpt_core.training.tune.data.dataset import TrainExample, TrainSet
from pandagpt_core.training.tune.data.features import FeatureStore
from pandagpt_core.training.tune.data.order import Division, Order
from pandagpt_core.training.tune.loop import TrainPlan, train_loop
from pandagpt_core.training.tune.model import Soft, TrainableModel
from pandagpt_core.training.tune.outputs import adapter_of, original_name
from pandagpt_core.training.tune.settings import TrainSettings
from tests import golden as vectors

ORIGINAL = "llama_model.base_model.model."
SLOT = 7  # the place of the medium's vector: after BOS and the pieces of "### Human: <Img>"


@dataclass(frozen=True)
class Run:
    """One golden case, laid out by us and run through our model."""

    said: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    laid: list[TokenizedExample]
    loss: torch.Tensor
    accuracy: float
    lora: dict[str, LoraLinear]
    projection: torch.nn.Linear


@pytest.fixture(scope="module", params=["train_full", "train_truncated"])
def run(request: pytest.FixtureRequest, golden: Path) -> Run:
    tiny = golden / "pandagpt-tiny"
    said = json.loads((tiny / "cases.json").read_text())["train"][request.param]
    prefix = f"{request.param}/"
    tensors = {k.removeprefix(prefix): v for k, v in load_file(tiny / "cases.safetensors").items() if prefix in k}
    tokenizer, llm = load_tokenizer(tiny / "vicuna_tiny"), load_llama(tiny / "vicuna_tiny")
    lora, projection = with_delta(llm, torch.load(tiny / "pandagpt_ckpt" / "pytorch_model.pt", weights_only=True))
    laid = [laid_out(c, tokenizer, said["max_tgt_len"]) for c in said["conversations"]]
    vectors = unprojected(projection, tensors["inputs_embeds"][:, SLOT])
    media = [[vector] for vector in vectors]
    batch = collate([one.ids for one in laid], [one.targets for one in laid], media, projection.in_features)
    sums = answer_sums(llm, projection, batch)
    loss = sums.loss / batch.learned
    torch.autograd.backward(loss)
    return Run(said, tensors, laid, loss.detach(), float(sums.right / sums.counted), lora, projection)


def laid_out(entries: list[dict[str, str]], tokenizer: Tokenizer, most: int) -> TokenizedExample:
    assert tokenizer.bos_id is not None
    return tokenize_conversation([ChatTurn(e["from"], e["value"]) for e in entries], tokenizer, tokenizer.bos_id, most)  # type: ignore[arg-type]


def with_delta(llm: Llama, delta: dict[str, torch.Tensor]) -> tuple[dict[str, LoraLinear], torch.nn.Linear]:
    config = vectors.read("pandagpt-tiny")
    lora = add_lora(llm, LoraConfig(r=config["lora_r"], alpha=config["lora_alpha"]))
    for name, layer in lora.items():
        layer.a.data = delta[f"{ORIGINAL}{name}.lora_A.default.weight"]
        layer.b.data = delta[f"{ORIGINAL}{name}.lora_B.default.weight"]
    projection = torch.nn.Linear(*delta["llama_proj.weight"].shape[::-1])
    projection.weight.data, projection.bias.data = delta["llama_proj.weight"], delta["llama_proj.bias"]
    return lora, projection


def assert_gradient(found: torch.Tensor | None, expected: torch.Tensor) -> None:
    """Relative to the largest entry: beside it small ones are rounding noise."""
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def unprojected(projection: torch.nn.Linear, soft: torch.Tensor) -> torch.Tensor:
    """The media embeddings behind the recorded projected ones: the projection widens, so it can be undone."""
    weight = projection.weight.detach().double()
    solved = torch.linalg.lstsq(weight, (soft - projection.bias.detach()).double().T).solution.T
    return solved.float()


def test_targets_are_the_originals(run: Run) -> None:
    wanted = run.tensors["full_targets"]
    for row, laid in enumerate(run.laid):
        rest = wanted.shape[1] - len(laid.targets)
        assert wanted[row].tolist() == [*laid.targets, *[IGNORED] * rest]


def test_token_ids_are_the_originals(run: Run) -> None:
    ids = run.tensors["input_ids"]
    for row, laid in enumerate(run.laid):
        after = list(laid.ids[SLOT + 1 :])
        assert ids[row].tolist() == [*after, *[2] * (ids.shape[1] - len(after))]


def test_loss_and_token_accuracy_are_the_originals(run: Run) -> None:
    torch.testing.assert_close(run.loss, run.tensors["loss"][0], rtol=1e-5, atol=0)
    assert run.accuracy == pytest.approx(run.said["token_accuracy"], abs=1e-6)


def test_gradients_are_the_originals(run: Run) -> None:
    ours = {"llama_proj.weight": run.projection.weight.grad, "llama_proj.bias": run.projection.bias.grad}
    for name, layer in run.lora.items():
        ours[f"{ORIGINAL}{name}.lora_A.default.weight"] = layer.a.grad
        ours[f"{ORIGINAL}{name}.lora_B.default.weight"] = layer.b.grad
    recorded = {k.removeprefix("grad/"): v for k, v in run.tensors.items() if k.startswith("grad/")}
    assert recorded
    for name, gradient in recorded.items():
        assert_gradient(ours[name], gradient)
    for name, norm in run.said["grad_norms"].items():
        found = ours[name]
        assert found is not None
        assert float(found.norm()) == pytest.approx(norm, rel=1e-4)


class Looking(torch.optim.SGD):
    """Takes no step, but keeps the gradients that one would have been taken by."""

    def step(self, closure: Any = None) -> None:
        self.seen = [p.grad.clone() for group in self.param_groups for p in group["params"]]


@pytest.mark.parametrize("micro", ["whole", "one by one"])
@pytest.mark.parametrize("case", ["train_full", "train_truncated"])
def test_a_step_of_pandagpt_train_is_the_originals(case: str, micro: str, golden: Path, tmp_path: Path) -> None:
    """As users run it: the module, the train_set and the step of a run, the batch whole or gathered from parts."""
    tiny = golden / "pandagpt-tiny"
    said = json.loads((tiny / "cases.json").read_text())["train"][case]
    prefix = f"{case}/"
    tensors = {k.removeprefix(prefix): v for k, v in load_file(tiny / "cases.safetensors").items() if prefix in k}
    tokenizer, llm = load_tokenizer(tiny / "vicuna_tiny"), load_llama(tiny / "vicuna_tiny")
    lora, plain = with_delta(llm, torch.load(tiny / "pandagpt_ckpt" / "pytorch_model.pt", weights_only=True))
    tuned = TrainableModel(llm, Soft(Projection(plain.weight.detach(), plain.bias.detach())), lora)

    vectors = unprojected(plain, tensors["inputs_embeds"][:, SLOT])
    store = FeatureStore(tmp_path, "golden", vectors.shape[1])
    store.write({str(index): vector for index, vector in enumerate(vectors)})
    laid = [laid_out(c, tokenizer, said["max_tgt_len"]) for c in said["conversations"]]
    train_set = TrainSet([TrainExample(one, (str(index),)) for index, one in enumerate(laid)], store)

    division = Division(len(laid), len(laid) if micro == "whole" else 1, 1)
    settings = TrainSettings(batch=len(laid), micro_batch=division.micro, clip=1e6, warmup=0.0)
    plan = TrainPlan(settings, Order(len(laid), len(laid), 0), division, 1)
    names = [name for name, parameter in tuned.named_parameters() if parameter.requires_grad]
    trained = [parameter for parameter in tuned.parameters() if parameter.requires_grad]
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=division.accumulated)
    looking = Looking([{"params": trained, "highest": 1.0}], lr=1.0)
    fields: dict[str, float] = {}
    model, optimizer = accelerator.prepare(tuned, looking)
    train_loop(plan, train_set, accelerator, model, optimizer, range(1), lambda _, **of: fields.update(of), [].append)

    assert fields["loss"] == pytest.approx(float(tensors["loss"][0]), rel=1e-5)
    assert fields["accuracy"] == pytest.approx(said["token_accuracy"], abs=1e-6)
    seen = adapter_of(dict(zip(names, looking.seen, strict=True)))
    ours = {original_name(name): gradient for name, gradient in seen.items()}
    norms = {name: float(gradient.norm()) for name, gradient in ours.items()}
    assert norms == pytest.approx(said["grad_norms"], rel=1e-4)
    for name in [key.removeprefix("grad/") for key in tensors if key.startswith("grad/")]:
        assert_gradient(ours[name], tensors[f"grad/{name}"])
    assert fields["grad_norm"] == pytest.approx(sum(norm**2 for norm in norms.values()) ** 0.5, rel=1e-4)
