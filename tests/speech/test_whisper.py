"""The real recogniser on synthesised speech."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from pandagpt_core.media import Limits, load
from pandagpt_core.speech.base import SpeechOptions, joined_text, windows
from pandagpt_core.speech.whisper import Whisper
from tests.speech.synthetic import FOX, say, whisper_folder


@pytest.fixture(scope="module")
def whisper(root: Path) -> Whisper:
    return Whisper(whisper_folder(root), threads=1)


def heard(whisper: Whisper, sound: np.ndarray, **options: object) -> str:
    return joined_text(
        [segment for one in windows(whisper, sound, SpeechOptions(**options)) for segment in one.segments]
    )


def speech(text: str, voice: str = "en") -> np.ndarray:
    return load("speech-audio-v1", say(text, voice), {}, Limits())


def test_what_was_said_is_written_down_with_the_times_of_its_words(whisper: Whisper) -> None:
    sound = speech(FOX)
    (window,) = windows(whisper, sound, SpeechOptions(words=True))
    assert window.language == "en"
    assert "brown fox" in joined_text(window.segments)
    words = [word for segment in window.segments for word in segment.words]
    assert [word.text for word in words] == joined_text(window.segments).split()
    assert all(before.start <= before.end <= after.start + 1e-9 for before, after in itertools.pairwise(words))
    assert words[-1].end <= len(sound) / 16_000 + 0.05


def test_another_language_is_detected_and_translated(whisper: Whisper) -> None:
    sound = speech("Guten Morgen, ich möchte gerne einen Kaffee.", "de")
    (window,) = windows(whisper, sound, SpeechOptions())
    assert (window.language, "Guten Morgen" in joined_text(window.segments)) == ("de", True)
    assert "morning" in heard(whisper, sound, task="translate").lower()


def test_what_is_said_after_the_first_window_is_written_down_with_its_time(whisper: Whisper) -> None:
    sound = np.concatenate([speech(FOX), np.zeros(40 * 16_000, np.int16), speech("My telephone is on the table.")])
    heard = list(windows(whisper, sound, SpeechOptions(words=True)))
    last = heard[-1].segments[-1]
    assert "telephone" in last.text
    assert last.words[-1].start > 42  # its place in the sound


def test_silence_and_noise_say_nothing(whisper: Whisper) -> None:
    noise = np.random.default_rng(0).normal(0, 3000, 8 * 16_000).astype(np.int16)
    assert heard(whisper, np.zeros(5 * 16_000, np.int16)) == ""
    assert heard(whisper, noise) == ""


def test_its_languages_are_those_of_its_vocabulary(whisper: Whisper) -> None:
    assert {"en", "de", "zh", "su"} <= set(whisper.info.languages)
    assert len(whisper.info.languages) == 99
