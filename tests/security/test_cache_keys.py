"""Threat: image hash collision served another's picture (vLLM CVE-2025-46722).

Measures: cache keys are SHA-256 over raw bytes, modality, recipe, parameters and encoder, and carry the tenant's salt.
"""

import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from PIL import Image

from pandagpt_core.media import digest
from service.broker.media_cache import media_name
from service.gateway.state import GatewayState
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, worker_thread
from tests.media.conftest import Make
from tests.security.neighbours import ask, keys_in

RAW = hashlib.sha256(b"picture").digest()


def test_every_part_of_the_key_matters_and_nothing_can_move_between_parts() -> None:
    data = [b"picture", b"picturf", b"", b"\0", b"pictur", b"pictureimage"]
    rest = [("image", "r-v1"), ("imager", "-v1"), ("thermal", "r-v1"), ("image", "r-v2"), ("", "imager-v1")]
    params = [{}, {"unit": "m"}, {"unit": "mm"}, {"unit": "m", "focal_px": 1.0}, {"focal_px": 1.0}, {"unitm": ""}]
    names = {digest(d, *r, p) for d, r, p in itertools.product(data, rest, params)}
    assert len(names) == len(data) * len(rest) * len(params)
    assert all(len(name) == 64 for name in names)


def test_the_order_of_parameters_does_not_matter() -> None:
    first = digest(b"x", "depth", "r", {"unit": "m", "focal_px": 1.0})
    assert first == digest(b"x", "depth", "r", {"focal_px": 1.0, "unit": "m"})


def test_tenant_encoder_and_digest_are_apart() -> None:
    triples = itertools.product(["a", "ab", ""], ["e", "be", ""], ["d", "ed", ""])
    names = [media_name(*triple) for triple in triples]
    assert len(set(names)) == 27


def test_pictures_of_the_same_pixels_and_other_shape_mode_or_palette_are_others(make: Make) -> None:
    """Collisions elsewhere came from pixels that were hashed without size and mode."""
    pictures = [make.saved(Image.new(mode, size)) for mode in ("L", "RGB", "P") for size in ((2, 8), (8, 2), (4, 4))]
    assert len({digest(data, "image", "r", {}) for data in pictures}) == len(pictures)


@pytest.fixture
def two_tenants(tmp_path: Path) -> Path:
    return keys_in(tmp_path, {"alice": "", "bob": ""})


def test_one_tenant_cannot_tell_by_the_cache_what_another_sent(
    valkey: Valkey, start_gateway: Callable[..., tuple[str, GatewayState]], two_tenants: Path, make: Make
) -> None:
    runtime = FakeRuntime()
    url, _ = start_gateway(keys_file=two_tenants)
    with worker_thread(valkey.settings, runtime):
        cached = []
        for name in ("alice", "bob", "alice", "bob"):
            headers = {"authorization": f"Bearer key-{name}"}
            with httpx.Client(base_url=url, headers=headers, timeout=20, trust_env=False) as client:
                answer = ask(client, make.picture(9, 9))
            assert answer.status_code == 200
            cached.append(answer.json()["usage"]["prompt_tokens_details"]["cached_items"])
    assert cached == [0, 0, 1, 1]
    assert sum(runtime.encoded.values()) == 2
