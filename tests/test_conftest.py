"""The fixtures themselves: each test gets an empty store, and a developer's settings do not leak in."""

import os

from service.settings import load
from tests.conftest import Valkey


def test_a_test_can_write_to_the_store(valkey: Valkey) -> None:
    valkey.client.set("left-over", b"1")
    assert valkey.client.get("left-over") == b"1"


def test_the_next_test_finds_the_store_empty(valkey: Valkey) -> None:
    assert valkey.client.dbsize() == 0


def test_torch_gets_one_thread_and_no_setting_leaks_in() -> None:
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert not [name for name in os.environ if name.startswith("PANDAGPT_")]
    assert load().gateway.port == 8000
