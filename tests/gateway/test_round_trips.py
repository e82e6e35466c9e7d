"""Waits of a request for the store before the gateway reads its events, counted at the gateway's connections."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from benchmarks.lib.store_proxy import RoundTrip, StoreProxy, store_proxy
from pandagpt_core.media import samples
from tests.conftest import Valkey
from tests.fakes import worker_thread
from tests.gateway.conftest import make_settings, serving

MOST = 4
KEY = {"idempotency-key": "once"}
REGISTRY = ("ZRANGE", "TIME", "ZRANGE+ZRANGEBYSCORE+HGETALL")  # read at most once a second, for all requests
SETUP = "CLIENT"  # of a new connection


@pytest.fixture
def counted(valkey: Valkey, tmp_path: Path) -> Iterator[tuple[httpx.Client, StoreProxy]]:
    """A gateway that answered one request already, and what its connections carry."""
    with store_proxy(valkey.settings, tmp_path / "proxy") as proxy:
        settings = make_settings(valkey).model_copy(update={"store": proxy.settings})
        with (
            worker_thread(valkey.settings, lost_after_s=15.0),
            serving(settings) as (url, _),
            httpx.Client(base_url=url, timeout=30, trust_env=False) as http,
        ):
            stream(http, 0)
            yield http, proxy


def stream(http: httpx.Client, number: int, headers: dict[str, str] | None = None) -> str:
    """A streamed answer about a picture that was never sent before; the request's id."""
    picture = np.full((8, 8), 1 + number, np.float32)
    fields = {"prompt": "What is this?", "stream": "true", "depth_unit": "disparity", "max_tokens": "4"}
    answer = http.post("/v1/generate", data=fields, files={"depth": samples.npy(picture)}, headers=headers)
    assert answer.status_code == 200
    return answer.text.partition('"id":"')[2].partition('"')[0]


def before_first_read(proxy: StoreProxy, start: int, request_id: str) -> list[RoundTrip]:
    trips = proxy.trips[start:]
    first = next(
        at for at, trip in enumerate(trips) if str(trip).startswith("XREAD") and trip.names(f"events:{{{request_id}}}")
    )
    return [trip for trip in trips[:first] if str(trip) not in REGISTRY and SETUP not in str(trip)]


@pytest.mark.parametrize("headers", [{}, KEY], ids=["plain", "idempotent"])
def test_a_new_picture_costs_at_most_four_round_trips_before_its_events(
    counted: tuple[httpx.Client, StoreProxy], headers: dict[str, str]
) -> None:
    http, proxy = counted
    start = len(proxy.trips)
    request_id = stream(http, 1, headers)
    trips = before_first_read(proxy, start, request_id)
    waited = [trip for trip in trips if not str(trip).startswith("XREAD")]
    assert 0 < len(waited) <= MOST, list(map(str, waited))
    admissions = [trip for trip in waited if trip.names(request_id) and "EVAL" in str(trip)]
    assert len([trip for trip in admissions if trip.names("record:")]) == 1
    assert "SET" in str(next(trip for trip in admissions if trip.names("record:"))), "the array travels with it"


def test_words_alone_cost_two_round_trips(counted: tuple[httpx.Client, StoreProxy]) -> None:
    http, proxy = counted
    start = len(proxy.trips)
    body = {"messages": [{"role": "user", "content": "What do pandas eat?"}], "stream": True, "max_tokens": 4}
    answer = http.post("/v1/chat/completions", json=body)
    request_id = answer.text.partition('"id":"')[2].partition('"')[0]
    waited = [trip for trip in before_first_read(proxy, start, request_id) if not str(trip).startswith("XREAD")]
    assert 0 < len(waited) <= 2, list(map(str, waited))
