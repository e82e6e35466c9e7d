"""Shared by the systems: a folder's cache of image features, the options that a request has for it, and its use."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn.functional import normalize

from pandagpt_core.checkpoints import CACHE, CacheSpec, ModelFolder, account, read_shapes, read_tensors
from pandagpt_core.options import option
from pandagpt_core.types import NOTHING_FOUND, Conversation, Fields, Found, Nearest, OptionSpec
from pandagpt_core.visual_cache import CacheOptions, Retrieved, Search, VisualCache, named

MAX_SIZE, MAX_TEMPERATURE = 1000, 1000.0


@dataclass(frozen=True, slots=True)
class FolderCache:
    """A cache and what its folder states of it."""

    vectors: VisualCache
    spec: CacheSpec

    @property
    def options(self) -> tuple[OptionSpec, ...]:
        spec = self.spec
        return (
            OptionSpec(
                "cache_size",
                "integer",
                "image features that are retrieved from the model's cache; 0 leaves the cache out",
                unit="rows",
                default=spec.size,
                minimum=0,
                maximum=MAX_SIZE,
            ),
            OptionSpec(
                "cache_t",
                "number",
                "how sharply the nearest features are preferred: multiplies similarities before the softmax",
                default=spec.temperature,
                minimum=0,
                maximum=MAX_TEMPERATURE,
            ),
            OptionSpec(
                "cache_weight",
                "number",
                "the share of what was retrieved, beside the medium's own feature",
                default=spec.weight,
                minimum=0,
                maximum=1,
            ),
            OptionSpec(
                "cache_details",
                "boolean",
                "say in the answer's fields which rows of the cache were retrieved",
                default=False,
            ),
        )

    def chosen(self, conversation: Conversation) -> CacheOptions:
        """A request's options, the folder's where it has none."""

        def value(name: str) -> Any:
            return option(self.options, conversation.options, name)

        return CacheOptions(value("cache_size"), value("cache_t"), value("cache_weight"))

    def wants_details(self, conversation: Conversation) -> bool:
        return bool(option(self.options, conversation.options, "cache_details"))


def load_cache(path: Path, folder: ModelFolder, width: int, device: str) -> FolderCache | None:
    """The cache of a folder that states one, in its own type. On a CPU the file is mapped, not read.

    Raises KeyMismatch for a file of another shape.
    """
    if folder.cache is None:
        return None
    account(CACHE, {"vectors": (folder.cache.rows, width)}, read_shapes(path / CACHE))
    (vectors,) = (tensor for _, tensor in read_tensors(path / CACHE, device=device))
    return FolderCache(VisualCache(vectors), folder.cache)


def details(retrieved: Retrieved) -> dict[str, Any]:
    """A retrieval as an answer's fields show it."""
    return {"rows": list(retrieved.rows), "similarities": [round(value, 6) for value in retrieved.similarities]}


def looked_up(
    cache: FolderCache | None, conversation: Conversation, features: Sequence[Tensor]
) -> Iterator[Found | None]:
    """The nearest rows of each [E] feature, last; None before each piece of a search that is long."""
    found: dict[tuple[bytes, int], Nearest] = {}
    if cache is not None and cache.vectors.is_long and (size := cache.chosen(conversation).size):
        for feature in features:
            search = Search(cache.vectors.vectors, feature, size)
            while not search.is_done:
                yield None
                search.step()
            found[named(feature, size)] = search.nearest
    yield found


def directions(rows: Sequence[Tensor]) -> list[Tensor]:
    """Of each medium's [n, E] rows the first, of length one: [E] float32. It is what the cache is searched for."""
    return [normalize(row[0].float(), dim=-1) for row in rows]


def drawn(
    cache: FolderCache | None, conversation: Conversation, rows: Sequence[Tensor], found: Found = NOTHING_FOUND
) -> tuple[Sequence[Tensor], Fields | None]:
    """Each medium's [1, E] row drawn towards pictures, and what the answer's fields show of it.

    A row keeps the length that it had: another medium's scale is its own. For systems that compose media one by one;
    ImageBind-LLM draws the mixture.
    """
    if cache is None or not (options := cache.chosen(conversation)).size:
        return rows, None
    near = [cache.vectors.retrieve(direction, options, found) for direction in directions(rows)]
    moved = [each.feature[None] * row.norm() for each, row in zip(near, rows, strict=True)]
    fields = {"cache": [details(each) for each in near]} if cache.wants_details(conversation) else None
    return moved, fields
