"""Threat: one tenant finds out by a cache, by its count or its time, what another sent.

Measures: a cache's entries are named by the tenant, or by a group that the operator named; prefixes too.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import httpx
import pytest

from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.types import SamplingParams
from service.broker.protocol import Generate, TurnPart
from service.gateway.access.auth import read_keys
from service.gateway.state import GatewayState
from service.settings import SettingsError
from service.worker.jobs import pending
from tests.conftest import Valkey
from tests.engine.conftest import llama, make_engine, prompt, tokenizer
from tests.fakes import FakeRuntime, worker_thread
from tests.media.conftest import Make
from tests.security.neighbours import ask, keys_in

__all__ = ["llama", "make_engine", "prompt", "tokenizer"]
Prompt = Callable[[str], LLMInputs]
ONE_TOKEN = SamplingParams(max_tokens=1, temperature=0.0)


def cached(engine: Engine, inputs: LLMInputs, tenant: str, num_public: int = 0) -> int:
    """The answer's `cached_tokens`; the sequence then runs to its end."""
    admitted = engine.add(EngineRequest("one", inputs, ONE_TOKEN, tenant=tenant, num_public=num_public))
    while engine.has_work:
        engine.step()
    return admitted.cached_tokens


@pytest.fixture
def engine(make_engine: Callable[..., Engine]) -> Engine:
    return make_engine(prefix_blocks=64, block_size=4)


def test_a_secret_is_not_found_digit_by_digit(engine: Engine, prompt: Prompt) -> None:
    secret = "the code of the door is 4711, keep it"
    assert cached(engine, prompt(secret), "alice") == 0
    for digits in range(5):
        guess = "the code of the door is " + "4711,"[:digits]
        assert cached(engine, prompt(guess), f"guesser {digits}") == 0
    assert cached(engine, prompt(secret), "carol") == 0
    assert cached(engine, prompt(secret), "alice") > 30


def test_the_template_is_shared_and_the_words_behind_it_are_not(engine: Engine, prompt: Prompt) -> None:
    template = "<system>be helpful</system>"
    cached(engine, prompt(template + "alice's words"), "alice", num_public=len(template))
    assert cached(engine, prompt(template + "alice's words"), "bob", num_public=len(template)) == 24


def test_a_group_shares_as_one_tenant_does(engine: Engine, prompt: Prompt) -> None:
    cached(engine, prompt("words of the group"), "group")
    assert cached(engine, prompt("words of the group"), "group") == 16


@pytest.mark.parametrize(("group", "shared_by"), [("", "alice"), ("lab", "lab")])
def test_a_worker_gives_the_engine_the_tenant_or_its_group(group: str, shared_by: str) -> None:
    request = Generate(
        id="r",
        model="m",
        tenant="alice",
        created=0.0,
        deadline=1.0,
        turns=[TurnPart(role="user", text="x")],
        media=[],
        params=ONE_TOKEN,
        cache_group=group,
    )
    assert [sequence.tenant for sequence in pending(OneChoice(), request)] == [shared_by]  # type: ignore[arg-type]


class OneChoice:
    """Of a job, what `pending` reads."""

    id = "r"
    asked = None
    found = None

    class Choice:
        finished, tokens = False, ()

    choices = (Choice(),)
    embeddings: Mapping[str, object] = MappingProxyType({})


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return keys_in(tmp_path, {"alice": "user cache=lab", "bob": "cache=lab", "carol": ""})


def test_media_are_shared_within_a_group_only(
    valkey: Valkey, start_gateway: Callable[..., tuple[str, GatewayState]], keys_file: Path, make: Make
) -> None:
    runtime = FakeRuntime()
    url, _ = start_gateway(keys_file=keys_file)
    with worker_thread(valkey.settings, runtime):
        cached = []
        for name in ("alice", "bob", "carol", "carol"):
            headers = {"authorization": f"Bearer key-{name}"}
            with httpx.Client(base_url=url, headers=headers, timeout=120, trust_env=False) as client:
                answer = ask(client, make.picture(9, 9))
            assert answer.status_code == 200, answer.text
            cached.append(answer.json()["usage"]["prompt_tokens_details"]["cached_items"])
    assert cached == [0, 1, 0, 1]


def test_a_group_needs_a_plain_name(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"alice {'0' * 64} user cache=a/b", encoding="utf-8")
    with pytest.raises(SettingsError, match="cache group"):
        read_keys(file)


def test_every_kind_of_key_in_the_store_is_on_the_list(root: Path) -> None:
    keys = re.findall(r"^pandagpt:.*$", (root / "service/broker/keys.py").read_text(encoding="utf-8"), re.M)
    kinds = {kind for line in keys for kind in re.findall(r"pandagpt:(\w+)", line)}
    page = (root / "docs/security.md").read_text(encoding="utf-8")
    listed = page.split("## Sharing between keys")[1].split("\n## ")[0]
    assert kinds
    assert kinds == set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^- (.*?):", listed, re.M))))
