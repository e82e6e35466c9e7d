"""The folds of /v1/responses: the broker's events to OpenAI's response object, and to its events.

As all folds these are pure: the same events give the same sequence numbers on any gateway, so a stream is read again
after any of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from service.broker.protocol import Done, Event, Failed, Started, Token
from service.gateway.streaming.chunks import ResponseMetadata, failure, logprob_object

_json = msgspec.json.Encoder()
DEFAULTS: Mapping[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "store": True,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "metadata": {},
}


def response_id(request_id: str) -> str:
    """The name of a request as a response, as OpenAI writes it."""
    return request_id.replace("-", "_", 1)


def request_id(response: str) -> str:
    """The other way round."""
    return response.replace("_", "-", 1)


@dataclass(slots=True)
class ResponseState:
    """A response as far as its events go."""

    answer: ResponseMetadata
    started: Started | None = None
    tokens: int = 0
    pieces: list[str] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    finish: str | None = None
    end: Done | Failed | None = None

    def take(self, event: Event) -> None:
        match event:
            case Started():
                self.started = self.started or event
            case Token():
                self.tokens += 1
                self.pieces.append(event.text)
                if event.logprob is not None and self.answer.logprobs:
                    self.logprobs.append(logprob_object(event.logprob))
                self.finish = event.finish or self.finish
            case Done() | Failed():
                self.end = event

    @property
    def status(self) -> str:
        match self.end:
            case Failed():
                return "failed"
            case Done(cancelled=True):
                return "cancelled"
            case Done():
                return "incomplete" if self.finish == "length" else "completed"
        return "queued" if self.started is None else "in_progress"

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def item(self, status: str) -> dict[str, Any]:
        """The one message of the output."""
        content = [self.part()] if self.pieces or status != "in_progress" else []
        head = {"id": self.item_id, "type": "message", "status": status, "role": "assistant"}
        return {**head, "content": content}

    def part(self, text: str | None = None) -> dict[str, Any]:
        said = self.text if text is None else text
        scores = self.logprobs if text is None else []
        return {"type": "output_text", "text": said, "annotations": [], "logprobs": scores}

    @property
    def item_id(self) -> str:
        return "msg_" + self.answer.id.partition("-")[2]

    def object(self) -> dict[str, Any]:
        """The response now."""
        status = self.status
        done = "completed" if status == "completed" else "in_progress" if self.end is None else "incomplete"
        reason = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            "id": response_id(self.answer.id),
            "object": "response",
            "created_at": self.answer.created,
            "status": status,
            "error": self._error(),
            "incomplete_details": reason,
            "model": self.answer.model,
            "output": [self.item(done)] if self.pieces else [],
            "usage": self._usage() if isinstance(self.end, Done) else None,
            **DEFAULTS,
            **self.answer.shape,
        }

    def _error(self) -> dict[str, str] | None:
        if not isinstance(self.end, Failed):
            return None
        error = failure(self.end)
        return {"code": error.code, "message": error.message}

    def _usage(self) -> dict[str, Any]:
        began = self.started or Started(prompt_tokens=0)
        return {
            "input_tokens": began.prompt_tokens,
            "input_tokens_details": {"cached_tokens": began.cached_tokens},
            "output_tokens": self.tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": began.prompt_tokens + self.tokens,
        }


_ENDS = {"completed": "response.completed", "failed": "response.failed"}


class ResponseChunkFold:
    """Folds one request's events into OpenAI's, as JSON with their sequence numbers."""

    def __init__(self, answer: ResponseMetadata) -> None:
        self.answer = answer
        self.started = Started(prompt_tokens=0)
        self.tokens = 0
        self.ended = False
        self._state = ResponseState(answer)
        self._created = False
        self._number = 0

    def feed(self, event: Event) -> list[bytes]:
        if self.ended:
            return []
        opening = self._open(event)
        first = not self._state.pieces
        self._state.take(event)
        match event:
            case Started():
                self.started = event
                return opening
            case Token():
                self.tokens += 1
                return [*opening, *(self._begin() if first else []), *self._delta(event)]
            case Done() | Failed():
                self.ended = True
                return [*opening, *self._finish()]
        return []

    def _open(self, event: Event) -> list[bytes]:
        if self._created or not isinstance(event, Started | Token | Done | Failed):
            return []
        self._created = True
        self._state.started = self._state.started or (event if isinstance(event, Started) else self.started)
        return [
            self._event(kind, response=self._state.object()) for kind in ("response.created", "response.in_progress")
        ]

    def _begin(self) -> list[bytes]:
        item = {**self._state.item("in_progress"), "content": []}
        return [
            self._event("response.output_item.added", output_index=0, item=item),
            self._part("response.content_part.added", part=self._state.part("")),
        ]

    def _delta(self, token: Token) -> list[bytes]:
        scored = token.logprob if self.answer.logprobs else None
        scores = [] if scored is None else [logprob_object(scored)]
        if not token.text and not scores:
            return []
        return [self._part("response.output_text.delta", delta=token.text, logprobs=scores)]

    def _finish(self) -> list[bytes]:
        status = self._state.status
        closing = []
        if self._state.pieces:
            item = self._state.item("completed" if status == "completed" else "incomplete")
            closing = [
                self._part("response.output_text.done", text=self._state.text, logprobs=self._state.logprobs),
                self._part("response.content_part.done", part=self._state.part()),
                self._event("response.output_item.done", output_index=0, item=item),
            ]
        return [*closing, self._event(_ENDS.get(status, "response.incomplete"), response=self._state.object())]

    def _part(self, kind: str, **fields: Any) -> bytes:
        return self._event(kind, item_id=self._state.item_id, output_index=0, content_index=0, **fields)

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return _json.encode({"type": kind, "sequence_number": self._number - 1, **fields})


@dataclass(slots=True)
class ResponseFrames:
    """Folds events into frames with an `event:` line, leaving out those up to the sequence number `after`."""

    chunks: ResponseChunkFold
    after: int = -1
    number: int = 0
    ended: bool = False

    def feed(self, events: Iterable[Event]) -> bytes:
        """The frames of these events in one piece."""
        frames = []
        for event in events:
            for chunk in self.chunks.feed(event):
                if self.number > self.after:
                    kind = chunk[len(b'{"type":"') :].partition(b'"')[0]
                    frames.append(b"event: %b\ndata: %b\n\n" % (kind, chunk))
                self.number += 1
        self.ended = self.chunks.ended
        return b"".join(frames)


@dataclass(slots=True)
class ResponseWholeFold:
    """Folds one request's events into its response object."""

    answer: ResponseMetadata
    state: ResponseState = field(init=False)

    def __post_init__(self) -> None:
        self.state = ResponseState(self.answer)

    def feed(self, event: Event) -> dict[str, Any] | None:
        """The response once it has ended, else None. Raises the request's failure."""
        self.state.take(event)
        if isinstance(event, Failed):
            raise failure(event)
        return self.state.object() if isinstance(event, Done) else None
