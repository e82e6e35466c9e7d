"""The gateway's fixtures, for the tests of threats, and neighbours: valid requests sent beside a hostile one."""

from tests.gateway.conftest import (
    gateway_settings,
    http,
    runtime,
    shared_gateway,
    start_gateway,
    steady_http,
    url,
    worker,
)
from tests.media.conftest import make

__all__ = [
    "gateway_settings",
    "http",
    "make",
    "runtime",
    "shared_gateway",
    "start_gateway",
    "steady_http",
    "url",
    "worker",
]
