"""The folds of /v1/responses: the broker's events to OpenAI's response object, and to its events.

As all folds these are pure: the same events give the same sequence numbers on any gateway, so a stream is read again
after any of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from service.broker.protocol import Done, Event, Failed, Started, Token
from service.gateway.streaming.chunks import ResponseMetadata, failure
from service.gateway.streaming.object_boxes import other_fields
from service.gateway.streaming.response_items import (
    Begun,
    CallItem,
    Ended,
    Grew,
    ItemStep,
    MessageItem,
    OutputItems,
)

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


class ResponseState:
    """A response as far as its events go."""

    def __init__(self, answer: ResponseMetadata) -> None:
        self.answer = answer
        self.started: Started | None = None
        self.tokens = 0
        self.finish: str | None = None
        self.end: Done | Failed | None = None
        self._output = OutputItems(answer)

    def take(self, event: Event) -> list[ItemStep]:
        """Changes of the output by the event."""
        match event:
            case Started():
                self.started = self.started or event
            case Token():
                self.tokens += 1
                self.finish = event.finish or self.finish
                return self._output.feed(event)
            case Done() | Failed():
                self.end = event
                return self._output.finish()
        return []

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

    def item_status(self, index: int) -> str:
        """Items before the last one are whole."""
        if index < len(self._output.items) - 1 or self.status == "completed":
            return "completed"
        return "in_progress" if self.end is None else "incomplete"

    def output(self) -> list[dict[str, Any]]:
        return [item.object(self.item_status(index)) for index, item in enumerate(self._output.items)]

    def object(self) -> dict[str, Any]:
        """The response now."""
        status = self.status
        reason = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            "id": response_id(self.answer.id),
            "object": "response",
            "created_at": self.answer.created,
            "status": status,
            "error": self._error(),
            "incomplete_details": reason,
            "model": self.answer.model,
            "output": self.output(),
            "usage": self._usage() if isinstance(self.end, Done) else None,
            **DEFAULTS,
            **self.answer.shape,
            **self._beyond(),
        }

    def _beyond(self) -> dict[str, Any]:
        """Fields beyond OpenAI's object, where there are any."""
        read = self.end.fields if isinstance(self.end, Done) else []
        found = {"fields": other_fields(read[0]) if read else None, "warnings": self.answer.warnings}
        return {name: value for name, value in found.items() if value}

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
        steps = [chunk for step in self._state.take(event) for chunk in self._step(step)]
        match event:
            case Started():
                self.started = event
            case Token():
                self.tokens += 1
            case Done() | Failed():
                self.ended = True
                kind = _ENDS.get(self._state.status, "response.incomplete")
                return [*opening, *steps, self._event(kind, response=self._state.object())]
        return [*opening, *steps]

    def _open(self, event: Event) -> list[bytes]:
        if self._created or not isinstance(event, Started | Token | Done | Failed):
            return []
        self._created = True
        self._state.started = self._state.started or (event if isinstance(event, Started) else self.started)
        return [
            self._event(kind, response=self._state.object()) for kind in ("response.created", "response.in_progress")
        ]

    def _step(self, step: ItemStep) -> list[bytes]:
        match step:
            case Begun():
                return self._begun(step)
            case Grew(item=MessageItem()):
                objects = {"objects": step.objects} if step.objects else {}
                return [
                    self._part(step, "response.output_text.delta", delta=step.text, logprobs=step.scores, **objects)
                ]
            case Grew():
                return [self._of(step, "response.function_call_arguments.delta", delta=step.text)]
            case Ended():
                return [*self._ended(step), self._done(step)]

    def _begun(self, step: Begun) -> list[bytes]:
        item = step.item.empty()
        if isinstance(item, CallItem):
            return [self._added(step, item.object("in_progress"))]
        return [
            self._added(step, {**item.object("in_progress"), "content": []}),
            self._part(step, "response.content_part.added", part=item.part()),
        ]

    def _added(self, step: Begun, item: dict[str, Any]) -> bytes:
        return self._event("response.output_item.added", output_index=step.index, item=item)

    def _ended(self, step: Ended) -> list[bytes]:
        item = step.item
        if isinstance(item, CallItem):
            kind = "response.function_call_arguments.done"
            return [self._of(step, kind, name=item.name, arguments=item.text)]
        return [
            self._part(step, "response.output_text.done", text=item.text, logprobs=item.logprobs),
            self._part(step, "response.content_part.done", part=item.part()),
        ]

    def _done(self, step: Ended) -> bytes:
        item = step.item.object(self._state.item_status(step.index))
        return self._event("response.output_item.done", output_index=step.index, item=item)

    def _part(self, step: ItemStep, kind: str, **fields: Any) -> bytes:
        return self._of(step, kind, content_index=0, **fields)

    def _of(self, step: ItemStep, kind: str, **fields: Any) -> bytes:
        return self._event(kind, item_id=step.item.id, output_index=step.index, **fields)

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return _json.encode({"type": kind, "sequence_number": self._number - 1, **fields})


def response_frame(_: int, event: bytes) -> bytes:
    """One event with its `event:` line; its number is inside."""
    kind = event[len(b'{"type":"') :].partition(b'"')[0]
    return b"event: %b\ndata: %b\n\n" % (kind, event)


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
