"""The interface of a recogniser: samples and options in, the segments of one window after another out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from pandagpt_core.types import SpeechInfo

Samples = npt.NDArray[np.int16]  # [n], one channel
Task = Literal["transcribe", "translate"]
RATE = 16_000  # samples a second
HOP = 160  # samples from one frame of features to the next
FRAMES_A_SECOND = RATE // HOP
WINDOW_FRAMES = 3000  # 30 seconds
LEAST_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """Times in seconds from the sound's start."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class SpokenSegment:
    """A stretch of speech, about a sentence; `start` and `end` in seconds from the sound's start.

    tokens: the recogniser's own ids. logprob: natural, their mean. repeats: the text's size over its size once
    compressed. no_speech: the probability that nobody speaks in the window.
    """

    start: float
    end: float
    text: str
    tokens: tuple[int, ...] = ()
    temperature: float = 0.0
    logprob: float = 0.0
    repeats: float = 1.0
    no_speech: float = 0.0
    words: tuple[SpokenWord, ...] = ()


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """language: an ISO 639-1 code, "" to have it detected. prompt: text that the speech goes on from, for its style and
    its names. temperature: of sampling; 0 searches, and samples at rising temperatures only where that fails.
    words: give each word's times. seed: of sampling."""

    task: Task = "transcribe"
    language: str = ""
    prompt: str = ""
    temperature: float = 0.0
    words: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class HeardWindow:
    """One window's segments, the frame at which the next window begins, and the sound's language.

    `sampled`: the text is no good context for the next window.
    """

    segments: tuple[SpokenSegment, ...]
    end: int
    language: str
    sampled: bool = False


@dataclass(frozen=True, slots=True)
class SpeechState:
    """State before the next window: its first frame, the language and the context, from the windows before it."""

    frame: int = 0
    language: str = ""
    context: tuple[int, ...] = field(default=(), repr=False)

    def after(self, heard: HeardWindow) -> "SpeechState":
        new = [token for segment in heard.segments for token in segment.tokens]
        context = () if heard.sampled else (*self.context, *new)
        return replace(self, frame=heard.end, language=heard.language or self.language, context=context)


class Recogniser(Protocol):
    """`pandagpt_core.speech.whisper.Whisper` is the real one. One thread uses it."""

    @property
    def info(self) -> SpeechInfo: ...

    def hear(self, samples: Samples, state: SpeechState, options: SpeechOptions) -> HeardWindow:
        """The window at `state.frame`, which lies within the sound."""
        ...


def frames_of(samples: Samples) -> int:
    return -(-len(samples) // HOP)


def is_over(samples: Samples, state: SpeechState) -> bool:
    """Whether less than a recogniser can use is left; true of no sound's beginning unless it is empty."""
    left = len(samples) - state.frame * HOP
    return left < LEAST_SECONDS * RATE and (state.frame > 0 or left <= 0)


def windows(
    recogniser: Recogniser, samples: Samples, options: SpeechOptions, state: SpeechState = SpeechState()
) -> Iterator[HeardWindow]:
    """All windows from `state` to the sound's end, each computed as it is drawn."""
    while not is_over(samples, state):
        heard = recogniser.hear(samples, state, options)
        yield heard
        state = state.after(heard)


def joined_text(segments: Sequence[SpokenSegment]) -> str:
    return "".join(segment.text for segment in segments).strip()
