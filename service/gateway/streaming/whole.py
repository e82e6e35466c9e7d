"""The fold from the broker's events to one chat completion."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from service.broker.protocol import Done, Event, Failed, Started, Token
from service.gateway.streaming.chunks import ResponseMetadata, failure, logprob_object, usage
from service.gateway.streaming.object_boxes import other_fields, places_of
from service.gateway.tools.messages import message_of

_json = msgspec.json.Encoder()


@dataclass(slots=True)
class WholeFold:
    """Folds one request's events into one chat completion."""

    answer: ResponseMetadata
    started: Started = field(default_factory=lambda: Started(prompt_tokens=0))
    tokens: int = 0
    texts: dict[int, list[str]] = field(default_factory=dict)
    logprobs: dict[int, list[msgspec.Raw]] = field(default_factory=dict)  # encoded, for they are many
    finishes: dict[int, str] = field(default_factory=dict)
    fields: dict[int, dict[str, Any] | None] = field(default_factory=dict)

    def feed(self, event: Event) -> dict[str, Any] | None:
        """The answer once it is whole, else None. Raises the request's failure."""
        match event:
            case Started() if self.tokens == 0:
                self.started = event
            case Token():
                self.tokens += 1
                self.texts.setdefault(event.choice, []).append(event.text)
                if event.logprob is not None:
                    self.logprobs.setdefault(event.choice, []).append(
                        msgspec.Raw(_json.encode(logprob_object(event.logprob)))
                    )
                if event.finish:
                    self.finishes[event.choice] = event.finish
            case Done():
                self.fields = dict(enumerate(map(other_fields, event.fields)))
                return self._whole()
            case Failed():
                raise failure(event)
            case _:
                pass
        return None

    def _whole(self) -> dict[str, Any]:
        return {
            **self.answer.shared("chat.completion"),
            "choices": [self._choice(index) for index in range(self.answer.n)],
            "usage": usage(self.answer, self.started, self.tokens),
            **({"warnings": self.answer.warnings} if self.answer.warnings else {}),
        }

    def _choice(self, index: int) -> dict[str, Any]:
        content, text = self.logprobs.get(index, []), "".join(self.texts.get(index, []))
        message = self._message(index, text)
        reason = self.finishes.get(index, "abort")
        called = self.answer.calls if self.answer.calls in message else None
        return {
            "index": index,
            "message": {
                "role": "assistant",
                **message,
                "refusal": None,
                **places_of(message["content"] or "", self.answer),
            },
            "logprobs": {"content": content, "refusal": None} if self.answer.logprobs else None,
            "finish_reason": called if called is not None and reason == "stop" else reason,
            **({"fields": self.fields[index]} if self.fields.get(index) is not None else {}),
        }

    def _message(self, index: int, text: str) -> dict[str, Any]:
        if self.answer.calls is None:
            return {"content": text}
        return message_of(self.answer.calls, self.answer.id, index, text)
