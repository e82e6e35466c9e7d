"""Commands find the service that runs on their state folder, on whichever port; an address that is set goes before."""

from pathlib import Path

import pytest

from service.local import address, lock
from service.settings import Settings

DEFAULT = "http://127.0.0.1:8000"
FOUND = "http://127.0.0.1:9123"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(local={"state": tmp_path})


def test_the_service_that_holds_the_folder_is_called(settings: Settings) -> None:
    with lock.held(settings.local.state):
        address.announce(settings.local.state, FOUND)
        assert address.of_service(settings) == FOUND


def test_the_address_of_a_service_that_is_gone_is_not_used(settings: Settings) -> None:
    with lock.held(settings.local.state):
        address.announce(settings.local.state, FOUND)
    assert address.of_service(settings) == DEFAULT


def test_without_a_folder_the_default_is_called(settings: Settings) -> None:
    assert address.of_service(settings) == DEFAULT


def test_an_address_that_is_set_goes_before(settings: Settings) -> None:
    given = settings.model_copy(update={"client": type(settings.client)(url="http://elsewhere")})
    with lock.held(settings.local.state):
        address.announce(settings.local.state, FOUND)
        assert address.of_service(given) == "http://elsewhere"
