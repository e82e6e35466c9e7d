"""The folds of Ollama's answers: the broker's events to its lines of JSON, streamed or in one piece.

As all folds these are pure. Durations are in nanoseconds, from the times that the events bear.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec
from starlette.responses import Response

from service.broker.protocol import Done, Event, Failed, Prompt, Started, Token
from service.gateway.errors import GatewayError
from service.gateway.streaming.chunks import ResponseMetadata, failure
from service.gateway.streaming.completion_chunks import echoed
from service.gateway.streaming.response_items import CallItem, Ended, Grew, ItemStep, MessageItem, OutputItems

CHAT, GENERATE = "ollama-chat", "ollama-generate"
_NS = 1_000_000_000
_json = msgspec.json.Encoder()


def line(value: dict[str, Any]) -> bytes:
    return _json.encode(value) + b"\n"


def failed_line(error: GatewayError) -> bytes:
    return line({"error": error.message})


def refusal(error: GatewayError, ours: Response) -> Response:
    """A refusal as Ollama's clients read it, with the status and headers of our own."""
    kept = {name: value for name, value in ours.headers.items() if not name.startswith("content-")}
    return Response(failed_line(error), ours.status_code, kept, "application/json")


class OllamaFold:
    """Folds one request's events into objects: one for each piece of text or call, and the closing one."""

    def __init__(self, answer: ResponseMetadata) -> None:
        self.answer = answer
        self.started = Started(prompt_tokens=0)
        self.tokens = 0
        self.ended = False
        self._items = OutputItems(answer)
        self._finish = "stop"
        moment = datetime.fromtimestamp(answer.created, UTC).isoformat().replace("+00:00", "Z")
        self._head = {"model": answer.model, "created_at": moment}

    def feed(self, event: Event) -> list[bytes]:
        return [line(one) for one in self.objects(event)]

    def objects(self, event: Event) -> list[dict[str, Any]]:
        match event:
            case Started() if self.tokens == 0:
                self.started = event
            case Prompt():
                return self._text_pieces(echoed(event))
            case Token():
                self.tokens += 1
                self._finish = event.finish or self._finish
                return self._pieces(self._items.feed(event))
            case Done():
                self.ended = True
                return [*self._pieces(self._items.finish()), self._end(event)]
            case Failed():
                self.ended = True
                return [{"error": failure(event).message}]
        return []

    def _pieces(self, steps: Iterable[ItemStep]) -> list[dict[str, Any]]:
        """A call comes whole, once it has ended."""
        pieces: list[dict[str, Any]] = []
        for step in steps:
            match step:
                case Grew(item=MessageItem()):
                    pieces += self._text_pieces(step.text)
                case Ended(item=CallItem() as item) if (arguments := _object(item.text)) is not None:
                    pieces.append(self._piece("", [{"function": {"name": item.name, "arguments": arguments}}]))
        return pieces

    def _text_pieces(self, text: str) -> list[dict[str, Any]]:
        return [self._piece(text)] if text else []

    def _piece(self, text: str, calls: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        return {**self._head, **self._text(text, calls), "done": False}

    def _text(self, text: str, calls: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        if self.answer.kind == GENERATE:
            return {"response": text}
        called = {"tool_calls": calls} if calls else {}
        return {"message": {"role": "assistant", "content": text, **called}}

    def _end(self, done: Done) -> dict[str, Any]:
        started, first = self.started.at or done.at, done.first_token_at or done.at
        return {
            **self._head,
            **self._text(""),
            "done": True,
            "done_reason": "cancelled" if done.cancelled else self._finish,
            "total_duration": _ns(self.answer.created, done.at),
            "load_duration": 0,
            "prompt_eval_count": self.started.prompt_tokens,
            "prompt_eval_duration": _ns(started, first),
            "eval_count": self.tokens,
            "eval_duration": _ns(first, done.at),
        }


@dataclass(slots=True)
class OllamaLines:
    """The stream: lines of JSON. White space between two of them changes nothing."""

    chunks: OllamaFold
    media_type: ClassVar[str] = "application/x-ndjson"
    keep_alive: ClassVar[bytes] = b" "

    @property
    def ended(self) -> bool:
        return self.chunks.ended

    def feed(self, events: Iterable[Event]) -> bytes:
        return b"".join(one for event in events for one in self.chunks.feed(event))

    def closing(self, error: GatewayError) -> bytes:
        return failed_line(error)


@dataclass(slots=True)
class OllamaWhole:
    """The answer in one piece: the closing object with all of the text and the calls."""

    answer: ResponseMetadata
    fold: OllamaFold = field(init=False)
    text: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fold = OllamaFold(self.answer)

    def feed(self, event: Event) -> dict[str, Any] | None:
        """The answer once it has ended, else None. Raises the request's failure."""
        if isinstance(event, Failed):
            raise failure(event)
        for one in self.fold.objects(event):
            message = one.get("message", {})
            self.text += one.get("response", message.get("content", ""))
            self.calls += message.get("tool_calls", [])
            if one["done"]:
                return one | self.fold._text(self.text, self.calls)
        return None


def _object(text: str) -> dict[str, Any] | None:
    """A call's arguments; None where the answer was cut off within them."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _ns(begin: float, end: float) -> int:
    return max(0, round((end - begin) * _NS))
