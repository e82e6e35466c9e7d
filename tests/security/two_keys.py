"""A gateway with four keys, and a worker before it whose work is counted: the numbers show the work that a cache saves.

`Case` is one row of a table: a cache is filled as Alice, and used as Carol before that, as Bob and as Alice after it.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest

from pandagpt_core.types import Modality
from service.gateway.state import GatewayState
from tests.conftest import Valkey
from tests.fakes import FAKE_INFO, FAKE_SPEECH, FakeRecogniser, FakeRuntime, worker_thread

Model = Any  # FakeRuntime, or what else has the same methods
RECIPES = {**FAKE_INFO.recipes, Modality.AUDIO: "mixed-audio-v1"}  # its reader remarks silence


@dataclass
class CountedModel(FakeRuntime):
    """`refuses`: no medium can be encoded, so that their arrays stay in the store."""

    refuses: bool = False

    def encode(self, modality: Modality, arrays: Any) -> list[np.ndarray]:
        embeddings = super().encode(modality, arrays)
        if self.refuses:
            raise ValueError("refused")
        return embeddings


def counted_model(refuses: bool = False) -> CountedModel:
    return CountedModel(info=replace(FAKE_INFO, recipes=RECIPES), refuses=refuses)


@dataclass
class TwoKeys:
    """`held` closes what a row leaves open."""

    url: str
    gateway: GatewayState
    model: Model
    valkey: Valkey
    held: contextlib.ExitStack
    recogniser: FakeRecogniser = field(
        default_factory=lambda: FakeRecogniser(info=replace(FAKE_SPEECH, context_tokens=60))
    )

    def client(self, name: str) -> httpx.Client:
        headers = {"authorization": f"Bearer {name}"}
        return self.held.enter_context(httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False))

    def work(self) -> Mapping[str, float]:
        """The work so far."""
        prefixes = self.model.stats().prefix
        samples = [sample for metric in self.gateway.registry.collect() for sample in metric.samples]
        decodes = [one.value for one in samples if one.name == "pandagpt_media_decode_seconds_count"]
        return {
            "decodes": sum(decodes),
            "encodes": sum(getattr(self.model, "encoded", {}).values()),
            "windows of speech": self.recogniser.heard,
            "tokens prefilled": prefixes.queries - prefixes.hits,
            "requests": len(self.valkey.client.keys("pandagpt:record:*")),
        }


class Use(NamedTuple):
    """The answer to a caller, and the work that was done for it."""

    seen: object
    work: Mapping[str, float]


class Uses(NamedTuple):
    """`bobs` and `alices` are of what Alice put there; `fresh` is of what nobody did."""

    fresh: Use
    bobs: Use
    alices: Use


@contextlib.contextmanager
def two_keys(request: pytest.FixtureRequest, model: Model, **gateway: object) -> Iterator[TwoKeys]:
    valkey: Valkey = request.getfixturevalue("valkey")
    file: Path = request.getfixturevalue("tmp_path") / "keys"
    names = ("alice", "bob", "carol", "dave")
    lines = [f"{name} {hashlib.sha256(name.encode()).hexdigest()}" for name in names]
    file.write_text("\n".join(lines), encoding="utf-8")
    url, state = request.getfixturevalue("start_gateway")(keys_file=file, **gateway)
    with contextlib.ExitStack() as held:
        made = TwoKeys(url, state, model, valkey, held)
        with worker_thread(valkey.settings, model, recogniser=made.recogniser, lost_after_s=15.0), held:
            yield made


@dataclass(frozen=True)
class Case:
    """`fill` leaves something as Alice and gives its name; `use` needs it by its name; nobody left `never`.

    warm: a name used by a fourth key before all, for what all keys share. gateway: settings of its own.
    """

    title: str
    fill: Callable[[TwoKeys, httpx.Client], Any]
    use: Callable[[httpx.Client, Any], object]
    never: Any = None
    warm: Any = None
    model: Callable[[pytest.FixtureRequest], Model] = lambda _: counted_model()
    gateway: Mapping[str, object] = field(default_factory=dict)

    def __call__(self, request: pytest.FixtureRequest) -> Uses:
        with two_keys(request, self.model(request), **self.gateway) as keys:
            if self.warm is not None:
                self.use(keys.client("dave"), self.warm)
            fresh = self._used(keys, "carol", self.never)
            name = self.fill(keys, keys.client("alice"))
            return Uses(fresh, *(self._used(keys, who, name) for who in ("bob", "alice")))

    def _used(self, keys: TwoKeys, who: str, name: Any) -> Use:
        before = keys.work()
        seen = self.use(keys.client(who), name)
        return Use(seen, {kind: count - before[kind] for kind, count in keys.work().items()})
