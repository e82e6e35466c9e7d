"""The written interface as an object."""

from typing import Any

import pytest

from service.gateway.openapi import document


@pytest.fixture(scope="session")
def spec() -> dict[str, Any]:
    return document.of_application()
