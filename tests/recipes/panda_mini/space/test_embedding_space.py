"""The shared space as a stage of the recipe: all of it is kept."""

import torch

from pandagpt_core.encoders.mini.towers import ImageHead, TextTower
from recipes.panda_mini.space.embedding_space import Space

SIZES = {
    "image": {"hidden": 8},
    "text": {"width": 12, "layers": 1, "heads": 2, "vocabulary": 50, "factor": 4, "context": 77},
}


def test_a_space_that_was_kept_is_the_same_space() -> None:
    torch.manual_seed(0)
    tables = {name: torch.randn(3, 6) for name in ("embeddings", "directions", "bank", "pictures")}
    head, tower = ImageHead(6, SIZES["image"]["hidden"]).eval(), TextTower(6, **SIZES["text"]).eval()
    space = Space(head, tower, key=torch.arange(3), **tables)
    again = Space.of(space.state(), SIZES, 6)
    pooled, logits, ids = torch.randn(2, 1280), torch.randn(2, 1000), torch.arange(10).view(2, 5)
    assert torch.equal(again.head(pooled, logits), head(pooled, logits))
    assert torch.equal(again.tower(ids), tower(ids))
    assert torch.equal(again.bank, space.bank)
    assert again.state().keys() == space.state().keys()
