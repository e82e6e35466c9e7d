"""/v1/audio where no worker can hear, where one dies, and where none is."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from service.gateway.state import GatewayState
from tests.conftest import Valkey
from tests.fakes import FakeRecogniser, FakeRuntime, worker_process, worker_thread
from tests.sounds import WHOLE, sound


def post(url: str, **fields: str) -> httpx.Response:
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
        return http.post("/v1/audio/transcriptions", data=fields, files={"file": sound()})


def test_without_a_recogniser_speech_is_a_404_in_plain_words(http: httpx.Client) -> None:
    for path in ("/v1/audio/transcriptions", "/v1/audio/translations"):
        answer = http.post(path, files={"file": sound(1)})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (404, "not_found")
        assert error["message"].startswith(f"{path} is not offered: no model here writes down speech.")
    assert http.get("/v1/models/fake").json()["speech"] is False


def test_workers_that_do_not_all_hear_offer_no_speech(
    start_gateway: Callable[..., tuple[str, GatewayState]], valkey: Valkey
) -> None:
    with worker_thread(valkey.settings, recogniser=FakeRecogniser()), worker_thread(valkey.settings, FakeRuntime()):
        url, _ = start_gateway()
        assert post(url).status_code == 404


def test_without_any_worker_it_is_a_503(start_gateway: Callable[..., tuple[str, GatewayState]]) -> None:
    url, _ = start_gateway()
    answer = post(url)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_worker")


@contextlib.contextmanager
def streamed(url: str, seconds: float) -> Iterator[Iterator[str]]:
    """The lines of a stream, while the block lasts."""
    form: Any = {"data": {"stream": "true"}, "files": {"file": sound(seconds)}}
    with (
        httpx.Client(base_url=url, timeout=60, trust_env=False) as http,
        http.stream("POST", "/v1/audio/transcriptions", **form) as answer,
    ):
        yield answer.iter_lines()


def test_a_caller_sees_one_transcript_though_its_worker_is_killed(
    start_gateway: Callable[..., tuple[str, GatewayState]], valkey: Valkey
) -> None:
    url, _ = start_gateway()
    found: list[str] = []
    process = worker_process(valkey.settings, speech_delay=0.8, lost_after_s=1.0)
    with process as first, streamed(url, 70) as lines:
        while not any("delta" in line for line in found):
            found.append(next(lines))
        first.kill()
        with worker_thread(valkey.settings, recogniser=FakeRecogniser(), lost_after_s=1.0):
            found += list(lines)
    done = next(line for line in found if "transcript.text.done" in line)
    assert sum("transcript.text.delta" in line for line in found) == 3
    assert WHOLE in done


def test_a_caller_that_leaves_ends_its_transcript(
    start_gateway: Callable[..., tuple[str, GatewayState]], valkey: Valkey
) -> None:
    recogniser = FakeRecogniser(delay=0.2)
    with worker_thread(valkey.settings, recogniser=recogniser) as worker:
        url, _ = start_gateway()
        with streamed(url, 600) as lines:
            next(lines)
        until = time.monotonic() + 10
        while worker.registry.get_sample_value("pandagpt_worker_requests_total", {"outcome": "cancelled"}) != 1:
            assert time.monotonic() < until, "it was not cancelled"
            time.sleep(0.02)
        assert recogniser.heard < 20
