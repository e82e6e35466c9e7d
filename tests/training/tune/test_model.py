"""The trained parts: the share of PandaGPT's sizes, the order of the data, the division of a batch."""

import torch

from pandagpt_core.fusion import Projection
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.training.tune.data.order import Division, Order
from pandagpt_core.training.tune.model import Soft, TrainableModel, cast_frozen, count, with_lora
from pandagpt_core.training.tune.settings import LoraSettings

IMAGEBIND_HUGE = 1_200_781_057
SIZES_13B = {"width": 5120, "layers": 40, "heads": 40, "kv_heads": 40, "head_dim": 128, "ffn": 13824, "vocab": 32_000}
TINY = LlamaConfig(vocab=40, width=16, layers=2, heads=4, kv_heads=2, head_dim=4, ffn=32, tied=True)


def tuned(config: LlamaConfig, embedding: int) -> TrainableModel:
    llm = Llama(config)
    lora = with_lora(llm, LoraSettings())
    return TrainableModel(llm, Soft(Projection(torch.empty(config.width, embedding), torch.empty(config.width))), lora)


def test_of_pandagpt_13b_four_thousandths_are_trained() -> None:
    with torch.device("meta"):
        counted = count(tuned(LlamaConfig(**SIZES_13B), 1024), IMAGEBIND_HUGE)
    assert counted.trained == 57_676_800
    assert counted.llm == 13_015_864_320
    assert round(100 * counted.share, 3) == 0.404
    assert str(counted) == "trains 57,676,800 of 14,274,322,177 parameters (0.40 %)"


def test_frozen_matrices_change_their_type_norms_and_what_is_trained_do_not() -> None:
    model = tuned(TINY, 8)
    cast_frozen(model.llm, torch.bfloat16)
    for name, parameter in model.named_parameters():
        wide = not parameter.requires_grad and "norm" not in name
        assert parameter.dtype == (torch.bfloat16 if wide else torch.float32), name


def test_every_conversation_is_seen_once_an_epoch_in_another_order() -> None:
    order = Order(count=7, batch=3, seed=1)
    assert order.steps(3) == 7
    stream = [index for step in range(7) for index in order.of_step(step)]
    epochs = [stream[at : at + 7] for at in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert order.of_step(4) == Order(7, 3, 1).of_step(4) != Order(7, 3, 2).of_step(4)


def test_a_last_step_is_filled_up() -> None:
    order = Order(count=3, batch=4, seed=0)
    assert order.steps(2) == 2
    assert len(order.of_step(1)) == 4


def test_processes_share_a_batch_without_overlap() -> None:
    division = Division(batch=12, micro=2, processes=3)
    batch = list(range(12))
    shares = [division.mine(batch, process) for process in range(3)]
    assert division.accumulated == 2
    assert [len(share) for share in shares] == [2, 2, 2]
    assert [index for share in shares for micro in share for index in micro] == batch
