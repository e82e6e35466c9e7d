"""A cache of pictures that is searched piece by piece: the same rows as in one product, and no search twice."""

import dataclasses

import pytest
import torch
from torch.nn.functional import normalize

from pandagpt_core.checkpoints import CacheSpec
from pandagpt_core.systems.pandagpt import PandaGPT
from pandagpt_core.systems.visual_cache import FolderCache
from pandagpt_core.types import Conversation, MediaUse, Modality, Nearest
from pandagpt_core.visual_cache import ROWS_AT_ONCE, VisualCache
from tests.systems.tiny_pandagpt import INFO, QUESTION, WIDTH, Make

ROWS = 3 * ROWS_AT_ONCE - 1
MEDIA = tuple(MediaUse(Modality.IMAGE, name, 0) for name in "ab")
ASKED = Conversation(QUESTION, MEDIA, {"cache_size": 5, "cache_details": True})
EMBEDDINGS = [torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(number)) for number in range(2)]


class Unsearched(VisualCache):
    """Refuses to be searched at admission."""

    def search(self, query: torch.Tensor, size: int) -> Nearest:
        raise AssertionError(f"{size} rows are searched again for {tuple(query.shape)}")


@pytest.fixture(scope="module")
def vectors() -> torch.Tensor:
    return normalize(torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(7)), dim=-1)


def system(make: Make, cache: VisualCache) -> PandaGPT:
    own = FolderCache(cache, CacheSpec(rows=len(cache), size=0))
    return make(cache=own, info=dataclasses.replace(INFO, options=own.options))


def test_the_rows_of_all_pieces_are_those_of_one_product(vectors: torch.Tensor) -> None:
    query = normalize(EMBEDDINGS[0][0], dim=-1)
    similarities, rows = VisualCache(vectors).search(query, 9)
    best = (vectors @ query).topk(9)
    assert list(rows) == best.indices.tolist()
    assert list(similarities) == pytest.approx(best.values.tolist(), abs=1e-6)


def test_a_long_search_is_divided_and_admission_does_not_repeat_it(make: Make, vectors: torch.Tensor) -> None:
    *pieces, found = system(make, VisualCache(vectors)).look_up(ASKED, EMBEDDINGS)
    assert pieces == [None] * 3 * len(MEDIA)
    assert found is not None
    ahead = system(make, Unsearched(vectors)).prepare(ASKED, EMBEDDINGS, found)
    alone = system(make, VisualCache(vectors)).prepare(ASKED, EMBEDDINGS)
    assert torch.equal(ahead.embeds, alone.embeds)
    assert ahead.fields == alone.fields
    assert ahead.fields is not None


@pytest.mark.parametrize("size", [0, None])
def test_what_needs_no_long_search_is_ready_at_once(make: Make, vectors: torch.Tensor, size: int | None) -> None:
    rows = vectors if size == 0 else vectors[:ROWS_AT_ONCE]
    options = ASKED.options if size is None else {"cache_size": size}
    asked = dataclasses.replace(ASKED, options=options)
    assert list(system(make, VisualCache(rows)).look_up(asked, EMBEDDINGS)) == [{}]
