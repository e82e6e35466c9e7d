"""Threat: huge headers, non-constant-time key check (vLLM CVE-2025-48956, CVE-2025-59425).

Measures: a head is bounded where its bytes arrive; keys are stored as SHA-256 and compared by `hmac.compare_digest`,
all of them for every caller.
"""

import ast
import hashlib
import hmac
import inspect
import json
from pathlib import Path

import pytest

from service.gateway.access import auth
from service.gateway.access.auth import KeyRing, read_keys
from service.gateway.errors import GatewayError
from tests.conftest import Valkey
from tests.security.beside import HELD_S, running, send, watched

GET = b"GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
HEADS = {
    "one header of 10 MB": GET + b"x: " + b"a" * 10_000_000 + b"\r\n\r\n",
    "100,000 headers": GET + b"x: y\r\n" * 100_000 + b"\r\n",
    "a name of a megabyte": GET + b"a" * 1_000_000 + b": y\r\n\r\n",
    "a path of a megabyte": b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    "a query of a megabyte": b"GET /?" + b"a" * 1_000_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    "a method of a megabyte": b"G" * 1_000_000 + b" / HTTP/1.1\r\nhost: x\r\n\r\n",
    "cookies without end": GET + b"cookie: " + b"a=b; " * 1_000_000,
    "an authorization of a megabyte": GET + b"authorization: Bearer " + b"k" * 1_000_000 + b"\r\n\r\n",
    "a head that is cut": GET + b"x: y",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 1000,
    "two lengths": GET + b"content-length: 3\r\ncontent-length: 5\r\n\r\nabcde",
    "length and chunks": GET + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
}


async def test_every_hostile_head_is_refused_at_once_and_neighbours_survive(valkey: Valkey) -> None:
    async with running(valkey, header_timeout_s=0.7, max_header_bytes=32_768) as (_, port), watched() as watch:
        for what, head in HEADS.items():
            answer = await send(port, [head[at : at + 65_536] for at in range(0, len(head), 65_536)])
            assert answer, what
            assert answer.split()[1] in (b"400", b"408", b"431"), (what, answer[:100])
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"], what
            assert (await send(port, [GET + b"\r\n"])).split()[1] == b"200", what
        assert watch.stall < HELD_S, watch.staller
        assert watch.grown < 40 << 20


def test_a_keys_file_holds_hashes_only(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"alice {hashlib.sha256(b'secret-key').hexdigest()}\n", encoding="utf-8")
    ring = KeyRing(read_keys(file))
    assert ring.find({"authorization": "Bearer secret-key"}).name == "alice"
    assert "secret-key" not in repr(vars(ring))


def test_a_key_in_the_clear_refuses_to_start(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("alice secret-key\n", encoding="utf-8")
    with pytest.raises(auth.SettingsError) as caught:
        read_keys(file)
    assert "secret-key" not in str(caught.value)


def test_every_key_is_compared_for_every_caller_and_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []

    def spy(a: str, b: str) -> bool:
        compared.append((a, b))
        return hmac.compare_digest(a, b)

    class Spied:
        compare_digest = staticmethod(spy)
        new = staticmethod(hmac.new)

    monkeypatch.setattr(auth, "hmac", Spied)
    keys = [auth.ApiKey(str(n), hashlib.sha256(str(n).encode()).hexdigest(), auth.CLASSES["user"]) for n in range(5)]
    ring = KeyRing(keys)
    assert ring.find({"authorization": "Bearer 0"}).name == "0"
    assert len(compared) == 5, "it does not stop at the one it found"
    with pytest.raises(GatewayError):
        ring.find({"authorization": "Bearer wrong"})
    assert len(compared) == 10
    assert all(len(a) == len(b) == 64 for a, b in compared), "hashes of equal length, never keys"


def test_no_secret_is_compared_by_equals() -> None:
    """Only one place compares keys, by `compare_digest`."""
    tree = ast.parse(inspect.getsource(KeyRing))
    compares = [node for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    names = {name.id for node in compares for name in ast.walk(node) if isinstance(name, ast.Name)}
    assert "digest" not in names
    assert not {name for name in names if name == "key"}
