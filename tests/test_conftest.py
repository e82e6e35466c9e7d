"""The fixtures themselves: an empty store and the logging as it was for each test, and no settings of a developer."""

import logging
import os

import pytest

from service import logs
from service.settings import load
from tests.conftest import Valkey
from tests.whole import TESTS, WHOLE, is_whole


def test_a_test_can_write_to_the_store(valkey: Valkey) -> None:
    valkey.client.set("left-over", b"1")
    assert valkey.client.get("left-over") == b"1"


def test_the_next_test_finds_the_store_empty(valkey: Valkey) -> None:
    assert valkey.client.dbsize() == 0


def test_a_test_can_send_all_logging_to_its_own_output(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "text", "worker")
    logging.getLogger("service").info("hello")
    assert "hello" in capsys.readouterr().err


def test_the_next_test_logs_to_no_closed_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert not [handler for handler in logging.getLogger().handlers if type(handler) is logging.StreamHandler]
    logging.getLogger("service").warning("hello again")
    assert "Logging error" not in capsys.readouterr().err


def test_a_quick_check_leaves_out_files_that_exist(request: pytest.FixtureRequest) -> None:
    assert [name for name in WHOLE if not (TESTS / name).exists()] == []
    assert (is_whole(TESTS / "web/test_chat.py"), is_whole(TESTS / "gateway/test_chat.py")) == (True, False)
    assert request.node.get_closest_marker("whole") is None


def test_the_longest_tests_come_first(request: pytest.FixtureRequest) -> None:
    order = [is_whole(item.path) for item in request.session.items]
    assert order == sorted(order, reverse=True)


def test_torch_gets_one_thread_and_no_setting_leaks_in() -> None:
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert not [name for name in os.environ if name.startswith("PANDAGPT_")]
    assert load().gateway.port == 8000
