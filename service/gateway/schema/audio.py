"""Bodies of /v1/audio: the fields of the form, and the answers in JSON."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from pandagpt_core.types import Priority
from service.gateway.schema.body import BodyModel

TranscriptFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]
Granularity = Literal["segment", "word"]
MAX_PROMPT = 4096
_Text = Annotated[str, StringConstraints(max_length=256)]


class TranslationForm(BodyModel):
    """The text fields of POST /v1/audio/translations."""

    model: _Text | None = Field(
        default=None,
        description="A model's `id` of /v1/models that has `speech`; `whisper-1` and OpenAI's other names stand for "
        "any. Default: the first that has it.",
    )
    prompt: Annotated[str, StringConstraints(max_length=MAX_PROMPT)] | None = Field(
        default=None, description="Text that the speech goes on from, for names and style. Default: none."
    )
    response_format: TranscriptFormat | None = Field(default=None, description="The answer's form. Default: json.")
    temperature: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="0 searches, and samples only where that repeats itself or is unlikely (no unit). Default: 0.",
    )
    priority: Priority | None = Field(default=None, description="Its queue. Default: interactive.")


class TranscriptionForm(TranslationForm):
    """The text fields of POST /v1/audio/transcriptions, but for `timestamp_granularities[]`, which may be repeated."""

    language: Annotated[str, StringConstraints(max_length=64)] | None = Field(
        default=None, description="Spoken language: a code (`en`, `pt-BR`) or a name. Default: it is detected."
    )
    stream: bool | None = Field(
        default=None, description="Server-sent events, with `response_format` json or text. Default: false."
    )


class DurationUsage(BaseModel):
    """Usage of a transcript."""

    type: Literal["duration"] = Field(description="Always `duration`")
    seconds: float = Field(description="Length of the sound (seconds)")


class TranscriptWord(BaseModel):
    """A word."""

    word: str = Field(description="Its text")
    start: float = Field(description="Start (seconds)")
    end: float = Field(description="End (seconds)")


class TranscriptSegment(BaseModel):
    """About a sentence."""

    id: int = Field(description="Its number, from 0 (no unit)")
    seek: int = Field(description="Start of its window, in hundredths of a second (no unit)")
    start: float = Field(description="Start (seconds)")
    end: float = Field(description="End (seconds)")
    text: str = Field(description="The words")
    tokens: list[int] = Field(description="The recogniser's own token ids")
    temperature: float = Field(description="At which it was sampled; 0: searched (no unit)")
    avg_logprob: float = Field(description="Mean log probability of the window's tokens (natural logarithm)")
    compression_ratio: float = Field(description="Size of the window's text over its compressed size (no unit)")
    no_speech_prob: float = Field(description="That nobody speaks in the window (probability)")


class Transcription(BaseModel):
    """The answer; all but `text` and `usage` with `verbose_json` alone."""

    text: str = Field(description="The words")
    task: Literal["transcribe", "translate"] | None = Field(default=None, description="The endpoint's task")
    language: str | None = Field(default=None, description="Spoken language, by its English name")
    duration: float | None = Field(default=None, description="Length of the sound (seconds)")
    segments: list[TranscriptSegment] | None = Field(default=None, description="With the granularity segment")
    words: list[TranscriptWord] | None = Field(default=None, description="With the granularity word")
    usage: DurationUsage | None = Field(default=None, description="Its usage, by length")


def shape_of(segment: Any, number: int, seek: int) -> dict[str, Any]:
    """A segment of a recogniser (`pandagpt_core.speech.base`) as a `TranscriptSegment`."""
    return {
        "id": number,
        "seek": seek,
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": segment.temperature,
        "avg_logprob": segment.logprob,
        "compression_ratio": segment.repeats,
        "no_speech_prob": segment.no_speech,
    }
