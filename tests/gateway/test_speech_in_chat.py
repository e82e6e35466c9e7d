"""Speech in the sounds of a chat: in front of the turn's text, in the answer's fields, only where it is known."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import httpx
import pytest

from service.gateway.state import GatewayState
from tests.conftest import Valkey
from tests.contract.conftest import SeeingRuntime
from tests.fakes import FAKE_SPEECH, FakeRecogniser, worker_thread
from tests.sounds import sound

LINE = 'Someone in the sound says: "{}"\n'


@pytest.fixture
def seeing() -> SeeingRuntime:
    return SeeingRuntime()


@pytest.fixture
def recogniser() -> FakeRecogniser:
    return FakeRecogniser(info=replace(FAKE_SPEECH, context_tokens=60))


@pytest.fixture
def speaking(
    start_gateway: Callable[..., tuple[str, GatewayState]],
    valkey: Valkey,
    seeing: SeeingRuntime,
    recogniser: FakeRecogniser,
) -> Iterator[httpx.Client]:
    with worker_thread(valkey.settings, seeing, recogniser=recogniser, lost_after_s=15.0):
        url, _ = start_gateway()
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
            yield http


def ask(http: httpx.Client, *sounds: tuple[str, bytes]) -> dict:
    files = [("audio", one) for one in sounds]
    answer = http.post("/v1/generate", data={"prompt": "What is it?", "max_tokens": "3", "seed": "1"}, files=files)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_what_is_said_stands_in_front_of_the_text_and_in_the_fields(
    speaking: httpx.Client, seeing: SeeingRuntime, recogniser: FakeRecogniser
) -> None:
    answer = ask(speaking, sound(3))
    said = "transcribe en 0 after 0."
    assert seeing.seen[0][0].turns[-1].text == LINE.format(said) + "What is it?"
    assert answer["choices"][0]["fields"] == {"speech": [{"turn": 0, "language": "en", "text": said}]}
    assert answer["usage"]["prompt_tokens_details"]["cached_items"] == 0
    again = ask(speaking, sound(3))
    assert again["choices"] == answer["choices"]
    assert again["usage"]["prompt_tokens_details"]["cached_items"] == 1
    assert recogniser.heard == 1, "the transcript is kept like an embedding"


def test_two_sounds_of_a_turn_are_named_by_their_numbers(speaking: httpx.Client, seeing: SeeingRuntime) -> None:
    ask(speaking, sound(2), sound(4))
    text = seeing.seen[0][0].turns[-1].text
    assert [line.partition(" says")[0] for line in text.splitlines()[:2]] == [
        "Someone in sound 1",
        "Someone in sound 2",
    ]


def test_a_long_text_is_cut_and_a_long_sound_is_heard_from_its_start(
    speaking: httpx.Client, seeing: SeeingRuntime, recogniser: FakeRecogniser
) -> None:
    ask(speaking, sound(200))
    assert recogniser.heard == 2, "the first minute alone"
    spoken = seeing.seen[0][0].turns[-1].text.partition('"')[2].partition('"')[0]
    assert spoken == "transcribe en 0 after 0. transcribe en 3000 after 2."[:60].rstrip()


def test_a_sound_without_speech_and_a_recogniser_that_fails_change_nothing(
    speaking: httpx.Client, seeing: SeeingRuntime, recogniser: FakeRecogniser
) -> None:
    recogniser.silent = True
    assert "fields" not in ask(speaking, sound(3))["choices"][0]
    recogniser.silent, recogniser.broken = False, True
    assert "fields" not in ask(speaking, sound(4))["choices"][0]
    assert [seen[0].turns[-1].text for seen in seeing.seen] == ["What is it?"] * 2


def test_vectors_of_a_sound_are_made_without_listening(speaking: httpx.Client, recogniser: FakeRecogniser) -> None:
    kept = speaking.post("/v1/files", files={"file": sound(3)}, data={"purpose": "user_data"}).json()["id"]
    part = {"type": "audio_url", "audio_url": {"url": f"file:{kept}"}}
    assert speaking.post("/v1/embeddings", json={"input": [part]}).status_code == 200
    assert recogniser.heard == 0
