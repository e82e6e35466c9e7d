"""Threat: pickle on the wire (ShadowMQ; SGLang CVE-2026-3059, -3060; LightLLM CVE-2026-26220).

Measures: messages are typed MessagePack; a pickle planted anywhere in the store never runs, and one on the queue ends
in the dead letters; an empty secret refuses to start.
"""

import pickle
import time
from pathlib import Path

import pytest

from service import settings
from service.broker.gateway.client import Broker
from service.broker.keys import PRIORITIES, Keys
from service.settings import SettingsError
from tests.conftest import Valkey
from tests.fakes import worker_thread
from tests.security.evil import Evil
from tests.wire import answer, generate, media, run, text_of, until


async def test_a_pickle_on_the_queue_never_runs_and_ends_in_the_dead_letters(valkey: Valkey, tmp_path: Path) -> None:
    keys, mark = Keys(), tmp_path / "ran"
    evil = pickle.dumps(Evil(mark))
    with worker_thread(valkey.settings) as worker:
        for lane in PRIORITIES:
            valkey.client.xadd(keys.queue("fake", lane), {"request": evil, "cost": "0"})
            valkey.client.xadd(keys.queue("fake", lane), {"pickle": evil})
        await until(lambda: valkey.client.xlen(keys.dead("fake")) == 4, what="the dead letters")
        broker = Broker.connect(valkey.settings)
        request = generate()
        assert text_of(await run(broker, request)) == answer(request), "the queue goes on"
        await broker.close()
        assert worker.thread.is_alive()
    letters = [fields[b"request"] for _, fields in valkey.client.xrange(keys.dead("fake"))]
    assert letters.count(evil) == 2
    assert not mark.exists()


async def test_pickles_among_events_media_and_announcements_are_not_read_either(valkey: Valkey, tmp_path: Path) -> None:
    keys, mark = Keys(), tmp_path / "ran"
    evil = pickle.dumps(Evil(mark))
    with worker_thread(valkey.settings):
        valkey.client.hset(keys.workers("fake"), "evil", evil)
        valkey.client.zadd(keys.ready("fake"), {"evil": int(time.time() * 1000) + 60_000})
        broker = Broker.connect(valkey.settings)
        assert "fake" in await broker.registry.models()
        part, _ = media(1)
        valkey.client.set(keys.array(part.blob), evil)
        valkey.client.set(keys.embedding(part.blob), evil)
        spoilt = generate(media=[part])
        events = await run(broker, spoilt)
        assert type(events[-1]).__name__ == "Failed", "its medium is not there"
        valkey.client.xadd(keys.events("planted"), {"events": evil}, id="1-1")
        plain = generate()
        assert text_of(await run(broker, plain)) == answer(plain)
        await broker.close()
    assert not mark.exists()


SECRETS = [
    *("PANDAGPT_STORE_PASSWORD", "PANDAGPT_STORE_SENTINEL_PASSWORD"),
    *("PANDAGPT_GATEWAY_SALT", "PANDAGPT_CLIENT_KEY"),
]


@pytest.mark.parametrize("variable", SECRETS)
def test_an_empty_secret_refuses_to_start(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "")
    with pytest.raises(SettingsError):
        settings.load()


def test_every_secret_is_one_of_these() -> None:
    """A new secret needs a least length, and a line here."""
    secret = {
        name
        for name, (section, key) in settings.variables().items()
        if "SecretStr" in str(settings.sections()[section].model_fields[key])
    }
    assert secret == set(SECRETS)


def test_a_short_salt_refuses_to_start_and_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANDAGPT_GATEWAY_SALT", "short-salt")
    with pytest.raises(SettingsError) as caught:
        settings.load()
    assert "short-salt" not in str(caught.value)


def test_a_gateway_beyond_loopback_without_keys_refuses_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANDAGPT_GATEWAY_HOST", "0.0.0.0")
    with pytest.raises(SettingsError):
        settings.load()
