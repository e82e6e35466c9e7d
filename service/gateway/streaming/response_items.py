"""The output of a response, item by item as its tokens come: messages and calls of functions.

Pure: the same tokens give the same items and steps, on any gateway.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pandagpt_core.boxes import BoxReader
from pandagpt_core.types import ToolCall, Turn
from service.broker.protocol import NO_TOKEN, Token
from service.gateway.streaming.chunks import ResponseMetadata, logprob_object
from service.gateway.streaming.object_boxes import objects_json, places_of
from service.gateway.tools.messages import call_id
from service.gateway.tools.reader import ArgumentsDelta, CallBegun, TextDelta, ToolCallReader, ToolDelta


@dataclass(slots=True)
class MessageItem:
    """The answer's text. `logprobs` are those of its tokens; `boxes` reads its places as they come."""

    id: str
    answer: ResponseMetadata
    pieces: list[str] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    boxes: BoxReader = field(default_factory=BoxReader)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def empty(self) -> "MessageItem":
        return MessageItem(self.id, self.answer)

    def part(self) -> dict[str, Any]:
        return {"type": "output_text", "text": self.text, "annotations": [], "logprobs": self.logprobs}

    def object(self, status: str) -> dict[str, Any]:
        head = {"id": self.id, "type": "message", "status": status, "role": "assistant"}
        places = {} if status == "in_progress" else places_of(self.text, self.answer)
        return {**head, "content": [self.part()], **places}


@dataclass(slots=True)
class CallItem:
    """A call of a function; the pieces are its arguments."""

    id: str
    call_id: str
    name: str
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def empty(self) -> "CallItem":
        return CallItem(self.id, self.call_id, self.name)

    def object(self, status: str) -> dict[str, Any]:
        head = {"id": self.id, "type": "function_call", "status": status, "call_id": self.call_id, "name": self.name}
        return {**head, "arguments": self.text}


AnswerItem = MessageItem | CallItem


@dataclass(frozen=True, slots=True)
class Begun:
    """The item of that number began, empty."""

    index: int
    item: AnswerItem


@dataclass(frozen=True, slots=True)
class Grew:
    """text: more of it. scores: of the tokens that this text is made of. objects: the places that it completes."""

    index: int
    item: AnswerItem
    text: str
    scores: list[dict[str, Any]]
    objects: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Ended:
    """Another item began behind it, or the answer ended."""

    index: int
    item: AnswerItem


ItemStep = Begun | Grew | Ended


class OutputItems:
    """Folds the tokens of an answer into `items`."""

    def __init__(self, answer: ResponseMetadata) -> None:
        self._answer = answer
        self._reader = None if answer.calls is None else ToolCallReader()
        self._unsent: list[dict[str, Any]] = []  # the scores of tokens whose text is not known to be text yet
        self.items: list[AnswerItem] = []

    def feed(self, token: Token) -> list[ItemStep]:
        if token.logprob is not None and self._answer.logprobs:
            self._unsent.append(logprob_object(token.logprob))
        return [step for delta in self._deltas(token) for step in self._take(delta)]

    def _deltas(self, token: Token) -> list[ToolDelta]:
        """Without tools every token is text, also one whose text is empty."""
        if self._reader is None:
            return [TextDelta(token.text)]
        return self._reader.feed(token.text)

    def finish(self) -> list[ItemStep]:
        """At the answer's end: text that was held back as the beginning of a call, and the last item's end."""
        left = [] if self._reader is None else self._reader.finish()
        return [*(step for delta in left for step in self._take(delta)), *self._close()]

    def _close(self) -> list[ItemStep]:
        return [Ended(len(self.items) - 1, self.items[-1])] if self.items else []

    def _take(self, delta: ToolDelta) -> Iterator[ItemStep]:
        match delta:
            case TextDelta():
                if not self.items or not isinstance(self.items[-1], MessageItem):
                    yield from self._begin(MessageItem(_item_id("msg", self._answer.id, len(self.items)), self._answer))
                yield from self._grow(delta.text, self._unsent)
            case CallBegun():
                call = call_id(self._answer.id, 0, delta.index)
                yield from self._begin(CallItem(_item_id("fc", self._answer.id, len(self.items)), call, delta.name))
            case ArgumentsDelta():
                yield from self._grow(delta.text, [])

    def _begin(self, item: AnswerItem) -> Iterator[ItemStep]:
        yield from self._close()
        self.items.append(item)
        if isinstance(item, CallItem):
            self._unsent = []
        yield Begun(len(self.items) - 1, item)

    def _grow(self, text: str, scores: list[dict[str, Any]]) -> Iterator[ItemStep]:
        item, objects = self.items[-1], []
        item.pieces.append(text)
        if isinstance(item, MessageItem):
            item.logprobs += scores
            self._unsent = []
            if self._answer.places:
                objects = objects_json(item.boxes.feed(text), self._answer.sides)
        if text or scores:
            yield Grew(len(self.items) - 1, item, text, scores, objects)


def answer_turn(answer: ResponseMetadata, text: str) -> Turn:
    """A whole answer as a turn of the conversation that goes on with it."""
    output = OutputItems(answer)
    output.feed(Token(choice=0, token_id=NO_TOKEN, text=text))
    output.finish()
    text = "".join(item.text for item in output.items if isinstance(item, MessageItem))
    calls = (ToolCall(item.name, item.text) for item in output.items if isinstance(item, CallItem))
    return Turn("assistant", text, tuple(calls))


def _item_id(kind: str, answer_id: str, index: int) -> str:
    """The first message has the answer's own number."""
    if index == 0:
        return f"{kind}_{answer_id.partition('-')[2]}"
    return f"{kind}_{hashlib.sha256(f'{answer_id}/{index}'.encode()).hexdigest()[:32]}"
