"""/v1/audio by the `openai` package, over a recogniser that names what it was given."""

from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from tests.contract.conftest import Strict
from tests.sounds import WHOLE, sound


def test_a_sound_is_written_down(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(model="whisper-1", file=sound())
    assert answer.text == WHOLE
    assert (answer.usage.type, answer.usage.seconds) == ("duration", 70.0)
    named = client.audio.transcriptions.create(model="fake", file=sound(3), language="German", prompt="Names")
    assert named.text == "transcribe de 0 after 0."


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # of the package's own, for want of an overload
def test_a_sound_is_written_down_in_english(client: OpenAI) -> None:
    assert client.audio.translations.create(model="whisper-1", file=sound(3)).text == "translate en 0 after 0."


def test_silence_says_nothing(client: OpenAI) -> None:
    assert client.audio.transcriptions.create(model="fake", file=sound(40, silent=True)).text == ""


def test_every_form_of_an_answer_is_openais(client: OpenAI) -> None:
    def form(name: Any) -> Any:
        return client.audio.transcriptions.create(model="fake", file=sound(31), response_format=name)

    lines = ("transcribe en 0 after 0.", "transcribe en 3000 after 2.")
    assert form("text") == f"{' '.join(lines)}\n"
    assert form("srt") == (
        f"1\n00:00:00,000 --> 00:00:30,000\n{lines[0]}\n\n2\n00:00:30,000 --> 00:00:31,000\n{lines[1]}\n"
    )
    assert form("vtt") == (
        f"WEBVTT\n\n00:00:00.000 --> 00:00:30.000\n{lines[0]}\n\n00:00:30.000 --> 00:00:31.000\n{lines[1]}\n"
    )
    verbose = form("verbose_json")
    assert (verbose.text, verbose.language, verbose.duration) == (" ".join(lines), "english", 31.0)
    assert verbose.words is None
    second = verbose.segments[1]
    assert (second.id, second.seek, second.start, second.end, second.tokens) == (1, 3000, 30.0, 31.0, [3000, 7])
    assert (second.avg_logprob, second.no_speech_prob, second.compression_ratio) == (-0.25, 0.01, 1.0)


def test_words_and_segments_have_their_times(client: OpenAI) -> None:
    def times(*names: Any) -> Any:
        return client.audio.transcriptions.create(
            model="fake", file=sound(2), response_format="verbose_json", timestamp_granularities=list(names)
        )

    words = times("word")
    assert [(word.word, word.start, word.end) for word in words.words] == [("transcribe", 0.0, 0.5)]
    assert words.segments is None
    assert len(times("word", "segment").segments) == 1


def test_a_transcript_is_streamed_window_by_window(client: OpenAI, http: httpx.Client) -> None:
    events = list(client.audio.transcriptions.create(model="fake", file=sound(), stream=True))
    assert [event.type for event in events] == ["transcript.text.delta"] * 3 + ["transcript.text.done"]
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == WHOLE
    answer = http.post("/v1/audio/transcriptions", data={"stream": "true"}, files={"file": sound(3)})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("data: [DONE]\n\n")


def test_a_transcript_is_read_again_under_its_id(http: httpx.Client) -> None:
    answer = http.post("/v1/audio/transcriptions", files={"file": sound()}, headers={"idempotency-key": "sound-1"})
    again = http.post("/v1/audio/transcriptions", files={"file": sound()}, headers={"idempotency-key": "sound-1"})
    assert answer.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    other = http.post(
        "/v1/audio/transcriptions",
        files={"file": sound()},
        data={"language": "de"},
        headers={"idempotency-key": "sound-1"},
    )
    assert other.json()["error"]["code"] == "idempotency_conflict"


def test_an_upload_and_any_sound_that_is_read_may_be_written_down(http: httpx.Client, client: OpenAI) -> None:
    kept = client.files.create(file=sound(3), purpose="user_data")
    answer = http.post("/v1/audio/transcriptions", files={"file": (None, f"file:{kept.id}")})
    assert answer.json()["text"] == "transcribe en 0 after 0."


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    *(({"temperature": value}, "temperature", "invalid_request") for value in ("2", "-0.1", "-5e-324", "nan", "1e400")),
    ({"response_format": "docx"}, "response_format", "invalid_request"),
    ({"language": "klingon"}, "language", "invalid_request"),
    ({"language": "fr"}, "language", "invalid_request"),  # Whisper's, but not this recogniser's
    ({"timestamp_granularities[]": "hour"}, "timestamp_granularities[]", "invalid_request"),
    ({"timestamp_granularities[]": "word"}, "timestamp_granularities[]", "invalid_request"),  # json has no times
    ({"stream": "true", "response_format": "srt"}, "stream", "invalid_request"),
    ({"include[]": "logprobs"}, "include", "invalid_request"),
    ({"model": "nobody"}, "model", "model_not_found"),
    ({"prompt": "x" * 5000}, "prompt", "invalid_request"),
]


@pytest.mark.parametrize(("fields", "param", "code"), REFUSED, ids=[f"{one[1]}-{one[0]}"[:40] for one in REFUSED])
def test_fields_of_a_sound_are_refused_by_name(
    http: httpx.Client, fields: dict[str, Any], param: str, code: str
) -> None:
    answer = http.post("/v1/audio/transcriptions", data=fields, files={"file": sound(1)})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (
        404 if code != "invalid_request" else 400,
        param,
        code,
    )


def test_what_is_no_sound_or_none_is_refused(http: httpx.Client, client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="file") as refusal:
        client.audio.transcriptions.create(model="fake", file=("a.wav", b"RIFF"))
    assert (refusal.value.code, refusal.value.param) == ("invalid_media", "file")
    none = http.post("/v1/audio/transcriptions", files={"model": (None, "fake")})
    assert none.json()["error"]["message"] == "file is required."
    two = http.post("/v1/audio/transcriptions", files=[("file", sound(1)), ("file", sound(1))])
    assert two.status_code == 400


def test_unknown_fields_are_named_in_a_header(http: httpx.Client) -> None:
    answer = http.post(
        "/v1/audio/transcriptions", data={"chunking_strategy": "auto", "temperature": "0"}, files={"file": sound(1)}
    )
    assert (answer.status_code, answer.headers["x-ignored-params"]) == (200, "chunking_strategy")


def test_a_key_and_its_rate_count_for_sounds_too(strict: Strict) -> None:
    with httpx.Client(base_url=strict.url, timeout=30, trust_env=False) as http:
        bare = http.post("/v1/audio/transcriptions", files={"file": sound(1)})
        assert bare.status_code == 401
        key = {"authorization": f"Bearer {strict.key()}"}
        answers = [http.post("/v1/audio/transcriptions", files={"file": sound(1)}, headers=key) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]


def test_models_name_whether_they_write_down_speech(http: httpx.Client) -> None:
    assert http.get("/v1/models/fake").json()["speech"] is True


def test_the_events_of_a_transcript_are_there_for_its_key(http: httpx.Client) -> None:
    sent: Any = {"data": {"stream": "true"}, "files": {"file": sound()}, "headers": {"idempotency-key": "sound-2"}}
    lines = http.post("/v1/audio/transcriptions", **sent).text.splitlines()
    assert [line for line in lines if line.startswith("id: ")] == [f"id: {number}" for number in range(5)]
