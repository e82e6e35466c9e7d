"""Projection and LoRA: the promises of the closed forms, and that training moves only the trained weights."""

import torch

from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.lora import merge_lora
from pandagpt_core.llm.rope import Rope
from pandagpt_core.training.lora import LoraConfig, add_lora
from recipes.panda_mini.language.projection_lora import (
    Example,
    adapter_state,
    batch_loss,
    reading_projection,
    train_speech,
)

CONFIG = LlamaConfig(
    vocab=40, width=16, layers=2, heads=4, kv_heads=2, head_dim=4, ffn=32, norm_eps=1e-5, rope=Rope(1e4),
    max_positions=64, tied=True,
)  # fmt: skip


def tiny() -> Llama:
    torch.manual_seed(0)
    return Llama(CONFIG)


def examples() -> list[Example]:
    torch.manual_seed(1)
    return [Example((1, None, 2, 3), (4, 5), torch.randn(8)), Example((1, 2), (6, 7, 8))]


def test_the_first_projection_reads_directions_as_names_and_sums_media() -> None:
    torch.manual_seed(0)
    names, directions = torch.randn(10, 32), torch.nn.functional.normalize(torch.randn(10, 12), dim=-1)
    projection = reading_projection(names, directions, 1e-6)
    torch.testing.assert_close(projection(directions), names, atol=1e-2, rtol=0)
    torch.testing.assert_close(projection(directions[0] + directions[1]), names[0] + names[1], atol=1e-2, rtol=0)
    assert not projection.bias.requires_grad


def test_training_lowers_the_loss_and_leaves_the_base_as_it_was() -> None:
    llm, projection = tiny(), torch.nn.Linear(8, 16)
    config = LoraConfig(r=4, alpha=4.0, lr=1e-2, projection_lr=1e-2, bf16=False)
    before = {name: tensor.clone() for name, tensor in llm.state_dict().items()}
    add_lora(llm, config)
    losses = train_speech(llm, projection, iter(lambda: examples(), None), 30, config)
    assert losses[-1] < 0.7 * losses[0]
    for name, tensor in llm.state_dict().items():
        if not name.endswith((".a", ".b")):
            assert torch.equal(tensor, before[name.replace(".base.", ".")])


def test_a_saved_adapter_merged_for_service_answers_as_it_did_in_training() -> None:
    llm, projection = tiny(), torch.nn.Linear(8, 16)
    config = LoraConfig(r=4, alpha=8.0, lr=1e-2, bf16=False)
    lora = add_lora(llm, config)
    train_speech(llm, projection, iter(lambda: examples(), None), 5, config)
    wanted = float(batch_loss(llm, projection, examples()).detach())
    state = adapter_state(projection, lora)
    served = tiny()
    names = {name.removesuffix(".lora_A.weight") for name in state if name.endswith(".lora_A.weight")}
    pairs = {name: (state[f"{name}.lora_A.weight"], state[f"{name}.lora_B.weight"]) for name in names}
    merge_lora(served, pairs, config.alpha / config.r)
    assert abs(float(batch_loss(served, projection, examples()).detach()) - wanted) < 1e-5
