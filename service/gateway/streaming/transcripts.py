"""The folds of /v1/audio: the windows that a recogniser heard as a transcript in the form that was asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import msgspec

from pandagpt_core.speech.base import SpokenSegment, joined_text
from pandagpt_core.speech.languages import name_of
from service.broker.protocol import Done, Event, Failed, Heard, Started
from service.gateway.errors import error_object
from service.gateway.schema.audio import shape_of
from service.gateway.streaming.chunks import DONE, ResponseMetadata, TranscriptShape, failure

KIND = "transcript"
_json = msgspec.json.Encoder()


@dataclass(slots=True)
class TranscriptSoFar:
    """The transcript so far."""

    shape: TranscriptShape
    language: str = ""
    frame: int = 0  # at which the next window begins
    segments: list[tuple[int, SpokenSegment]] = field(default_factory=list)  # with the frame of their window

    def add(self, heard: Heard) -> str:
        """The text that the window adds, as it is joined to what is there."""
        window = heard.window
        new = "".join(segment.text for segment in window.segments)
        first = not self.text
        self.segments += [(self.frame, segment) for segment in window.segments]
        self.frame, self.language = window.end, window.language or self.language
        return new.lstrip() if first else new

    @property
    def text(self) -> str:
        return joined_text([segment for _, segment in self.segments])

    def usage(self) -> dict[str, Any]:
        return {"type": "duration", "seconds": self.shape.seconds}

    def plain(self) -> dict[str, Any]:
        return {"text": self.text, "usage": self.usage()}

    def verbose(self) -> dict[str, Any]:
        shape = self.shape
        answer: dict[str, Any] = {
            "task": shape.task,
            "language": name_of(self.language),
            "duration": shape.seconds,
            "text": self.text,
        }
        if "segment" in shape.granularities:
            answer["segments"] = [shape_of(one, at, seek) for at, (seek, one) in enumerate(self.segments)]
        if "word" in shape.granularities:
            words = [word for _, segment in self.segments for word in segment.words]
            answer["words"] = [{"word": word.text, "start": word.start, "end": word.end} for word in words]
        return {**answer, "usage": self.usage()}

    def srt(self) -> str:
        cues = [
            f"{number}\n{_clock(one.start, ',')} --> {_clock(one.end, ',')}\n{one.text.strip()}\n"
            for number, (_, one) in enumerate(self.segments, start=1)
        ]
        return "\n".join(cues)

    def vtt(self) -> str:
        """WebVTT (W3C), in which an arrow may not stand in a text."""
        cues = [
            f"{_clock(one.start, '.')} --> {_clock(one.end, '.')}\n{one.text.strip().replace('-->', '->')}\n"
            for _, one in self.segments
        ]
        return "\n".join(["WEBVTT\n", *cues])


_FORMS: Mapping[str, Callable[[TranscriptSoFar], dict[str, Any] | str]] = MappingProxyType(
    {
        "json": TranscriptSoFar.plain,
        "verbose_json": TranscriptSoFar.verbose,
        "text": lambda transcript: f"{transcript.text}\n",
        "srt": TranscriptSoFar.srt,
        "vtt": TranscriptSoFar.vtt,
    }
)


def _clock(seconds: float, mark: str) -> str:
    """Hours, minutes, seconds and, behind the mark, thousandths."""
    total = round(seconds * 1000)
    minutes, rest = divmod(total, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{mark}{rest % 1000:03}"


def _shape(answer: ResponseMetadata) -> TranscriptShape:
    assert answer.transcript is not None, "a transcript has a shape"
    return answer.transcript


class TranscriptWholeFold:
    """As `WholeFold`: the whole transcript, a string where the form is text."""

    def __init__(self, answer: ResponseMetadata) -> None:
        self._transcript = TranscriptSoFar(_shape(answer))

    def feed(self, event: Event) -> dict[str, Any] | str | None:
        """The answer once it is whole, else None. Raises the request's failure."""
        match event:
            case Heard():
                self._transcript.add(event)
            case Done():
                return _FORMS[self._transcript.shape.format](self._transcript)
            case Failed():
                raise failure(event)
        return None


class TranscriptChunkFold:
    """As `ChunkFold`: OpenAI's events, a delta for each window that holds speech."""

    def __init__(self, answer: ResponseMetadata) -> None:
        self.answer = answer
        self.started = Started(prompt_tokens=0)
        self.tokens = 0
        self.ended = False
        self._transcript = TranscriptSoFar(_shape(answer))

    def feed(self, event: Event) -> list[bytes]:
        if self.ended:
            return []
        match event:
            case Heard():
                self.tokens += event.tokens
                delta = self._transcript.add(event)
                return [_json.encode({"type": "transcript.text.delta", "delta": delta})] if delta else []
            case Done():
                self.ended = True
                return [_json.encode({"type": "transcript.text.done", **self._transcript.plain()}), DONE]
            case Failed():
                self.ended = True
                return [_json.encode(error_object(failure(event))), DONE]
        return []
