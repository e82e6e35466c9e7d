"""The fold of a request's answer: by the kind of answer that its metadata names."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from service.broker.protocol import Event
from service.gateway.streaming.chunks import AnswerChunks, ChunkFold, FrameFold, ResponseMetadata, bare_frame, frame
from service.gateway.streaming.completion_chunks import CompletionChunkFold, CompletionWholeFold
from service.gateway.streaming.event_stream import Frames
from service.gateway.streaming.ollama_lines import CHAT, GENERATE, OllamaFold, OllamaLines, OllamaWhole
from service.gateway.streaming.response_events import ResponseChunkFold, ResponseWholeFold, response_frame
from service.gateway.streaming.transcripts import KIND as TRANSCRIPT
from service.gateway.streaming.transcripts import TranscriptChunkFold, TranscriptWholeFold
from service.gateway.streaming.whole import WholeFold


class AnswerWhole(Protocol):
    """Folds one request's events into one answer."""

    def feed(self, event: Event) -> dict[str, Any] | str | None: ...


_CHUNKS: Mapping[str, Callable[[ResponseMetadata], AnswerChunks]] = MappingProxyType(
    {"chat": ChunkFold, "text": CompletionChunkFold, TRANSCRIPT: TranscriptChunkFold}
)
_WHOLE: Mapping[str, Callable[[ResponseMetadata], AnswerWhole]] = MappingProxyType(
    {
        "chat": WholeFold,
        "text": CompletionWholeFold,
        "response": ResponseWholeFold,
        CHAT: OllamaWhole,
        GENERATE: OllamaWhole,
        TRANSCRIPT: TranscriptWholeFold,
    }
)


def frames(answer: ResponseMetadata, after: int = -1, ids: bool = True) -> Frames:
    """For a stream: the frames beyond the event of that number, with `id:` lines where `ids`."""
    if answer.kind in (CHAT, GENERATE):
        return OllamaLines(OllamaFold(answer))
    if answer.kind == "response":
        return FrameFold(ResponseChunkFold(answer), after, response_frame)
    return FrameFold(_CHUNKS[answer.kind](answer), after, frame if ids else bare_frame)


def whole_fold(answer: ResponseMetadata) -> AnswerWhole:
    """For an answer in one piece."""
    return _WHOLE[answer.kind](answer)
