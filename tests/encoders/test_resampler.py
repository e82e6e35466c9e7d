"""The resampler over a tower's tokens: its rows, what it reads, and how it begins."""

import torch

from pandagpt_core.checkpoints import ResamplerSpec
from pandagpt_core.encoders.base import TowerTokens
from pandagpt_core.encoders.resampler import PerceiverResampler
from tests.soft_tokens import random_resampler

SPEC = ResamplerSpec(count=3, width=16, heads=2, layers=2, towers={"a": 10, "b": 6})
OUT = 8


def seen(width: int = 10, tokens: int = 7, keep: torch.Tensor | None = None) -> TowerTokens:
    chance = torch.Generator().manual_seed(1)
    vectors, rows = torch.randn(2, OUT, generator=chance), torch.randn(2, tokens, width, generator=chance)
    return TowerTokens(vectors, rows, keep)


def test_an_untrained_resampler_gives_the_vector_in_each_row() -> None:
    given = seen()
    rows = PerceiverResampler(SPEC, OUT)("a", given)
    assert torch.equal(rows, given.vectors[:, None].expand(2, 3, OUT))


def test_each_query_reads_something_of_its_own_of_each_tower() -> None:
    resampler = random_resampler(SPEC, OUT)
    for tower, width in SPEC.towers.items():
        rows = resampler(tower, seen(width))
        assert rows.shape == (2, 3, OUT)
        read = rows - seen(width).vectors[:, None]
        assert all(float((read[0, i] - read[0, j]).abs().max()) > 1e-3 for i, j in [(0, 1), (0, 2), (1, 2)])
        assert float((read[0] - read[1]).abs().max()) > 1e-3


def test_tokens_behind_a_texts_end_are_not_read() -> None:
    resampler, given = random_resampler(SPEC, OUT), seen()
    keep = torch.arange(7).expand(2, -1) < torch.tensor([[4], [6]])
    rows = resampler("a", TowerTokens(given.vectors, given.tokens, keep))
    for item, end in ((0, 4), (1, 6)):
        cut = TowerTokens(given.vectors[item : item + 1], given.tokens[item : item + 1, :end])
        torch.testing.assert_close(rows[item : item + 1], resampler("a", cut))


def test_the_order_of_tokens_is_the_towers_affair() -> None:
    resampler, given = random_resampler(SPEC, OUT), seen()
    turned = TowerTokens(given.vectors, given.tokens.flip(1))
    torch.testing.assert_close(resampler("a", given), resampler("a", turned))
