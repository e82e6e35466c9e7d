"""Server-sent events: framing, and the fold from the broker's events to OpenAI chunks.

The fold is pure: the same events give the same chunks with the same ids, on any gateway, so a stream can be read again
from its start or from the event after `Last-Event-ID`.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import msgspec

from pandagpt_core.boxes import BoxReader
from pandagpt_core.speech.base import Task
from pandagpt_core.types import Modality, ModelInfo
from service.broker.protocol import Done, Event, Failed, Logprob, Started, Token
from service.gateway.errors import GatewayError, error_object
from service.gateway.schema.audio import TranscriptFormat
from service.gateway.streaming.object_boxes import objects_json, other_fields, places_end
from service.gateway.tools.messages import CallFold, CallStyle

# A line without an empty one after it: the `openai` package takes an empty line for an event once it has seen an id.
KEEP_ALIVE = b": keep-alive\n"
DONE = b"[DONE]"
_json = msgspec.json.Encoder()


def frame(event_id: int, data: bytes) -> bytes:
    """One event with its id. JSON never holds a raw newline, so one `data:` line is enough."""
    return b"id: %d\ndata: %b\n\n" % (event_id, data)


def bare_frame(_: int, data: bytes) -> bytes:
    """One event without its id. Some clients of chat completions count an event twice when it has one."""
    return b"data: %b\n\n" % data


def closing_error(error: GatewayError) -> bytes:
    """The end of a connection and not of its request: no ids, so `Last-Event-ID` stays that of the last chunk."""
    return b"data: %b\n\ndata: %b\n\n" % (_json.encode(error_object(error)), DONE)


class ViewedSpans(msgspec.Struct, frozen=True):
    """The parts of a long medium that were looked at, in seconds."""

    modality: str
    seconds: list[tuple[float, float]]


class TranscriptShape(msgspec.Struct, frozen=True, kw_only=True):
    """The form of a transcript. seconds: of the sound."""

    format: TranscriptFormat
    task: Task
    granularities: list[str]
    seconds: float = 0.0


class ResponseMetadata(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Facts about a request that a reader needs besides its events to fold them. Kept in the store beside them."""

    id: str
    model: str
    created: int
    kind: str = "chat"  # of answer: a key of the tables in `folds`
    shape: dict[str, Any] = {}  # of a response: the fields that repeat its request's; kept with its conversation
    n: int = 1  # choices, of all prompts together
    prompts: int = 0  # to continue, in place of a conversation
    logprobs: bool = False
    include_usage: bool = False
    continuous_usage: bool = False
    event_ids: bool = True
    items: dict[str, int] = {}
    fingerprint: str | None = None
    places: bool = False  # whether the model names places in pictures
    sides: tuple[int, int] | None = None  # in pixels, of the picture that they are in
    annotated: bool = False  # whether that picture is kept to be drawn on
    warnings: list[str] = []  # notes of the media's readers
    spans: list[ViewedSpans] = []
    transcript: TranscriptShape | None = None
    calls: CallStyle | None = None  # the client's form of calls of functions; None where there can be none

    def stored(self) -> bytes:
        return msgspec.msgpack.encode(msgspec.structs.replace(self, shape={}))

    def shared(self, kind: str) -> dict[str, Any]:
        """Common first fields of every chunk and of the whole answer."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }


_metadata = msgspec.msgpack.Decoder(ResponseMetadata)


def read_metadata(stored: bytes) -> ResponseMetadata:
    """Raises `request_not_found` for a request without any: one for embeddings has no stream."""
    if not stored:
        raise GatewayError("request_not_found", "There is no such request with a stream.")
    return _metadata.decode(stored)


def fingerprint_of(info: ModelInfo) -> str:
    """OpenAI's `system_fingerprint`: while it stays the same, the same seed and request give the same tokens."""
    names = (info.id, info.system, info.version, info.encoder_digest, str(info.created))
    return "fp_" + hashlib.sha256("\0".join(names).encode()).hexdigest()[:10]


def count_items(modalities: list[Modality]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for modality in modalities:
        counts[modality.value] = counts.get(modality.value, 0) + 1
    return counts


def usage(answer: "ResponseMetadata", started: Started, completion_tokens: int) -> dict[str, Any]:
    items = answer.items
    details = {f"{modality.value}_items": items.get(modality.value, 0) for modality in Modality}
    return {
        "prompt_tokens": started.prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": started.prompt_tokens + completion_tokens,
        "prompt_tokens_details": {
            "cached_tokens": started.cached_tokens,
            **details,
            "cached_items": started.cached_items,
        },
        **({"media_spans": [msgspec.to_builtins(one) for one in answer.spans]} if answer.spans else {}),
    }


def logprob_object(logprob: Logprob) -> dict[str, Any]:
    """OpenAI's object. The `bytes` of an answer's tokens, joined, are its text; `token` shows those that are text."""

    def one(piece: bytes, value: float) -> dict[str, Any]:
        return {"token": piece.decode(errors="replace"), "logprob": value, "bytes": list(piece)}

    likeliest = [one(piece, value) for _, piece, value in logprob.top]
    return one(logprob.piece, logprob.logprob) | {"top_logprobs": likeliest}


def failure(event: Failed) -> GatewayError:
    return GatewayError(event.code, event.message, param=event.param)


class AnswerChunks(Protocol):
    """Folds one request's events into the chunks of a stream."""

    answer: ResponseMetadata
    started: Started
    tokens: int
    ended: bool

    def feed(self, event: Event) -> list[bytes]:
        """Bytes to send for an event; the last item is `DONE`."""
        ...


class ChunkFold:
    """Folds one request's events into chunks, as JSON. `feed` gives an event's bytes; the last item is `DONE`.

    The common part of an answer's chunks is encoded once: there is one chunk for every token of every open stream.
    """

    def __init__(self, answer: ResponseMetadata) -> None:
        self.answer = answer
        self.started = Started(prompt_tokens=0)
        self.tokens = 0
        self.ended = False
        self._opened = False
        self._open_choices: set[int] = set()
        self._boxes = {choice: BoxReader() for choice in range(answer.n)} if answer.places else {}
        self._calls = {} if answer.calls is None else {n: CallFold(answer.calls, answer.id, n) for n in range(answer.n)}
        self._head = _json.encode(answer.shared("chat.completion.chunk"))[:-1] + b',"choices":['
        self._fixed_tail = b'],"usage":null}' if answer.include_usage else b"]}"

    def feed(self, event: Event) -> list[bytes]:
        if self.ended:
            return []
        match event:
            case Token():
                return [*self._open(self.started), *self._token(event)]
            case Started():
                return self._open(event)
            case Done():
                return [*self._open(self.started), *self._done(event)]
            case Failed():
                self.ended = True
                return [_json.encode(error_object(failure(event))), DONE]
            case _:
                return []  # attempts changing hands; no concern of the caller's

    def _open(self, started: Started) -> list[bytes]:
        if self._opened:  # a later attempt starts again; the caller's stream goes on
            return []
        self._opened, self.started = True, started
        self._open_choices = set(range(self.answer.n))
        opening = [self._chunk(choice, b'{"role":"assistant","content":""}') for choice in range(self.answer.n)]
        if self.answer.warnings:
            opening[0] = opening[0][:-1] + b',"warnings":%b}' % _json.encode(self.answer.warnings)
        return opening

    def _token(self, event: Token) -> list[bytes]:
        self.tokens += 1
        chunks, logprobs = [], b"null"
        if self.answer.logprobs and event.logprob is not None:
            logprobs = _json.encode({"content": [logprob_object(event.logprob)], "refusal": None})
        deltas = self._deltas(event)
        for delta in deltas or ([b'{"content":""}'] if logprobs != b"null" else []):
            chunks.append(self._chunk(event.choice, delta, logprobs=logprobs))
            logprobs = b"null"
        if event.finish:
            self._open_choices.discard(event.choice)
            chunks.append(self._chunk(event.choice, b"{}", b'"%b"' % self._finish_reason(event).encode()))
        return chunks

    def _deltas(self, event: Token) -> list[bytes]:
        """Chunks that this token adds to the answer: text, or pieces of calls."""
        fold = self._calls.get(event.choice)
        if fold is None:
            return [self._content(event.choice, event.text)] if event.text else []
        return [
            self._content(event.choice, delta["content"]) if "content" in delta else _json.encode(delta)
            for delta in fold.feed(event.text, ended=event.finish is not None)
        ]

    def _finish_reason(self, event: Token) -> str:
        reason = event.finish or ""
        return self._calls[event.choice].finish_reason(reason) if self._calls else reason

    def _content(self, choice: int, text: str) -> bytes:
        """A delta of text, with the boxes that it completes as a further field."""
        found = self._boxes[choice].feed(text) if self._boxes else ()
        objects = b',"objects":%b' % _json.encode(objects_json(found, self.answer.sides)) if found else b""
        return b'{"content":%b%b}' % (_json.encode(text), objects)

    def _done(self, done: Done) -> list[bytes]:
        """A choice's fields come in a chunk of their own after its last token."""
        self.ended = True
        chunks = [self._chunk(choice, b"{}", b'"abort"') for choice in sorted(self._open_choices)]
        for choice, reader in self._boxes.items():
            end = places_end(reader.finish(), self.answer)
            chunks += [self._chunk(choice, _json.encode(end))] if end else []
        chunks += [
            self._chunk(choice, b"{}", more=b',"fields":%b' % _json.encode(fields))
            for choice, fields in enumerate(map(other_fields, done.fields))
            if fields is not None
        ]
        if self.answer.include_usage:
            used = _json.encode(usage(self.answer, self.started, self.tokens))
            chunks.append(b'%b],"usage":%b}' % (self._head, used))
        return [*chunks, DONE]

    def _chunk(
        self, choice: int, delta: bytes, finish: bytes = b"null", logprobs: bytes = b"null", more: bytes = b""
    ) -> bytes:
        one = b'{"index":%d,"delta":%b,"logprobs":%b,"finish_reason":%b%b}' % (choice, delta, logprobs, finish, more)
        return self._head + one + self._tail()

    def _tail(self) -> bytes:
        """The end of a chunk; with `continuous_usage` the usage so far."""
        if not self.answer.continuous_usage:
            return self._fixed_tail
        return b'],"usage":%b}' % _json.encode(usage(self.answer, self.started, self.tokens))


@dataclass(slots=True)
class FrameFold:
    """Folds events into SSE frames, leaving out those of chunks numbered up to and including `after`.

    write: a chunk's frame, of its number and its bytes.
    """

    chunks: AnswerChunks
    after: int = -1
    write: Callable[[int, bytes], bytes] = frame
    number: int = 0
    ended: bool = False
    media_type: ClassVar[str] = "text/event-stream"
    keep_alive: ClassVar[bytes] = KEEP_ALIVE

    def closing(self, error: GatewayError) -> bytes:
        return closing_error(error)

    def feed(self, events: Iterable[Event]) -> bytes:
        """The frames of these events in one piece."""
        frames = []
        for event in events:
            chunks = self.chunks.feed(event)
            after = self.after
            if self.chunks.ended and self.number + len(chunks) <= after:
                after = -1  # the reader read a stream that the store lost since: it has nothing of the end
            for chunk in chunks:
                if self.number > after:
                    frames.append(self.write(self.number, chunk))
                self.number += 1
        self.ended = self.chunks.ended
        return b"".join(frames)
