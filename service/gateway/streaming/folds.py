"""Which fold makes a request's answer: by the kind of answer that its metadata names."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from service.broker.protocol import Event
from service.gateway.streaming.chunks import AnswerChunks, ChunkFold, ResponseMetadata, WholeFold
from service.gateway.streaming.completion_chunks import CompletionChunkFold, CompletionWholeFold


class AnswerWhole(Protocol):
    """Folds one request's events into one answer."""

    def feed(self, event: Event) -> dict[str, Any] | None: ...


_CHUNKS: Mapping[str, Callable[[ResponseMetadata], AnswerChunks]] = MappingProxyType(
    {"chat": ChunkFold, "text": CompletionChunkFold}
)
_WHOLE: Mapping[str, Callable[[ResponseMetadata], AnswerWhole]] = MappingProxyType(
    {"chat": WholeFold, "text": CompletionWholeFold}
)


def chunk_fold(answer: ResponseMetadata) -> AnswerChunks:
    """For a stream."""
    return _CHUNKS[answer.kind](answer)


def whole_fold(answer: ResponseMetadata) -> AnswerWhole:
    """For an answer in one piece."""
    return _WHOLE[answer.kind](answer)
