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


def noise(level: float, seconds: int = 8, seed: int = 0) -> np.ndarray:
    """White, int16."""
    return np.random.default_rng(seed).normal(0, level, seconds * 16_000).astype(np.int16)


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(5 * 16_000, np.int16),
        *(noise(level, seed=seed) for level in (300, 3000) for seed in range(3)),
        (3000 * np.sin(np.arange(8 * 16_000) * 2 * np.pi * 50 / 16_000)).astype(np.int16),
    ],
    ids=["silence", *(f"noise at {level}, {seed}" for level in (300, 3000) for seed in range(3)), "a hum"],
)
def test_silence_and_noise_say_nothing(whisper: Whisper, sound: np.ndarray) -> None:
    assert heard(whisper, sound) == ""


@pytest.mark.parametrize(("loud", "level"), [(1.0, 1000), (0.05, 0), (1.0, 60)])
def test_speech_beside_noise_and_low_speech_are_heard(whisper: Whisper, loud: float, level: float) -> None:
    """After ten seconds without any."""
    words = (speech("My telephone is on the table.") * loud).astype(np.int16)
    sound = np.concatenate([np.zeros(10 * 16_000, np.int16), words])
    assert "table" in heard(whisper, sound + noise(level, 60)[: len(sound)], language="en")


def test_its_languages_are_those_of_its_vocabulary(whisper: Whisper) -> None:
    assert {"en", "de", "zh", "su"} <= set(whisper.info.languages)
    assert len(whisper.info.languages) == 99
