"""Data and state of the training: sequences that share a picture's rows, the truth of a grid, and stages that go on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pandagpt_core.encoders.grid.encoder import SIDE, GridFeatures
from pandagpt_core.encoders.grid.sizes import GridSizes
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.training.log import Log
from recipes.panda_locate.features import Kept, load_grid_trunk
from recipes.panda_locate.head import HeadConfig, head_loss, train_head, truth_of
from recipes.panda_locate.language import LanguageConfig, ReaderModel, imagined_batches, layer_of, train_reader
from recipes.panda_locate.questions import LocateQuestion
from recipes.panda_locate.rows import Noise, words_of
from recipes.panda_locate.sequences import Packer, Tree
from recipes.panda_locate.things import COLOURS, NAMES, DrawnThing

THING = DrawnThing(3, 1, (0.2, 0.3, 0.5, 0.6))


def test_a_packed_question_computes_as_it_would_alone(smollm2: Tokenizer) -> None:
    torch.manual_seed(0)
    llm = Llama(LlamaConfig(vocab=49152, width=16, layers=2, heads=2, kv_heads=1, head_dim=8, ffn=32))
    questions = [
        LocateQuestion("what", "[vqa] what is blue?", "dog"),
        LocateQuestion("count", "[vqa] how many dogs?", "2"),
    ]
    rows, packer = torch.randn(5, 16), Packer(smollm2, 5)

    def hidden(chosen: list[LocateQuestion]) -> torch.Tensor:
        packed = packer.pack([(rows, chosen)])
        embeds = llm.embed(packed.tokens).masked_scatter(packed.slot[:, :, None], packed.rows)
        out = llm.hidden(embeds, packed.positions, Tree(packed.part))[0]
        return out[packed.targets[0] >= 0]

    together = hidden(questions)
    alone = torch.cat([hidden([one]) for one in questions])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_padding_learns_nothing(smollm2: Tokenizer) -> None:
    short, long = LocateQuestion("a", "x", "y"), LocateQuestion("a", "x y z", "a b c d")
    packed = Packer(smollm2, 2).pack([(torch.zeros(2, 4), [short]), (torch.zeros(2, 4), [short, long])])
    assert (packed.targets[0][packed.part[0] < 0] < 0).all()
    assert packed.slot.sum(dim=1).tolist() == [2, 2]


def test_layers_below_the_first_are_left_as_they_are_and_the_rest_learns(smollm2: Tokenizer, tmp_path: Path) -> None:
    config = LanguageConfig(steps=3, pictures=1, questions=2, first=1, rise=1, fall=0.1, keep_every=2)
    sizes = LlamaConfig(vocab=49152, width=16, layers=2, heads=2, kv_heads=1, head_dim=8, ffn=32)
    batches = imagined_batches(smollm2, config, Noise())

    def trained(at: Path, *lengths: int) -> ReaderModel:
        for length in lengths:
            torch.manual_seed(0)
            reader = ReaderModel.fresh(Llama(sizes), smollm2, config)
            train_reader(reader, lambda step: batches(step), config, at, Log(), stop=length)
        return reader

    once = trained(tmp_path / "a", 3)
    assert {layer_of(name) for name in once.trained} == {1}
    adapter = once.adapter()
    assert not any(one.any() for name, one in adapter.items() if ".layers.0." in name and "lora_B" in name)
    assert all(one.any() for name, one in adapter.items() if ".layers.1." in name)
    again = trained(tmp_path / "b", 2, 3).adapter()
    for name, one in adapter.items():
        torch.testing.assert_close(one, again[name], rtol=0, atol=0)


def test_the_cell_of_a_centre_is_what_its_thing_is() -> None:
    truth = truth_of([[THING], []])
    assert (truth.bump == 1).nonzero().tolist() == [[0, int(0.45 * SIDE), int(0.35 * SIDE)]]
    assert truth.names[0, 6, 4] == 3
    assert truth.boxes[0, 6, 4].tolist() == pytest.approx(THING.box)


def test_seeing_the_truth_costs_less_than_seeing_something_else() -> None:
    truth = truth_of([[THING]])

    def cost(box: torch.Tensor, centre: torch.Tensor) -> float:
        names, colours = (torch.zeros(1, SIDE, SIDE, count) for count in (len(NAMES), len(COLOURS) + 1))
        return float(head_loss(GridFeatures(centre, names, colours, box), truth)[0])

    right = torch.where(truth.bump == 1, 8.0, -8.0)
    assert cost(truth.boxes, right) < cost(truth.boxes.roll(1, dims=-1), right) < cost(truth.boxes * 0, -right)


def test_the_head_goes_on_where_it_was_stopped(smollm2: Tokenizer, tmp_path: Path) -> None:
    maps = np.random.default_rng(0).normal(0, 1, (4, 780, SIDE, SIDE)).astype(np.float16)
    kept, trunk = Kept(maps, [[THING]] * 4), load_grid_trunk()

    def made(at: Path, *steps: int) -> dict[str, torch.Tensor]:
        for count in steps:  # the same schedule: only where a run stops differs
            config = HeadConfig(steps=4, batch=2, keep_every=2)
            head = train_head(kept, trunk, GridSizes(words_of(smollm2)), config, at, Log(), stop=count)
        return head.state_dict()

    once, twice = made(tmp_path / "a", 4), made(tmp_path / "b", 2, 4)
    for name, tensor in once.items():
        torch.testing.assert_close(tensor, twice[name], rtol=0, atol=0)
