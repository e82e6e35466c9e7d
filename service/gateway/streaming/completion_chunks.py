"""The folds of /v1/completions: the broker's events to OpenAI's text completions, in chunks or whole."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from service.broker.protocol import Done, Event, Failed, Prompt, PromptPiece, Started, Token
from service.gateway.errors import error_object
from service.gateway.streaming.chunks import DONE, ResponseMetadata, failure, usage

OBJECT = "text_completion"
_json = msgspec.json.Encoder()


@dataclass(slots=True)
class ScoredText:
    """One choice's text so far, for the offsets of its tokens."""

    length: int = 0

    def logprobs(self, tokens: list[PromptPiece]) -> dict[str, Any]:
        """The parallel lists of these tokens, which go on where the last ones ended."""
        lists: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        for token in tokens:
            text = _text(token.piece)
            lists["tokens"].append(text)
            lists["token_logprobs"].append(token.logprob)
            likeliest = {_text(piece): value for _, piece, value in token.top}
            lists["top_logprobs"].append(None if token.logprob is None else likeliest)
            lists["text_offset"].append(self.length)
            self.length += len(text)
        return lists


def _text(piece: bytes) -> str:
    return piece.decode(errors="replace")


def _scored(event: Token) -> list[PromptPiece]:
    found = event.logprob
    if found is None:
        return []
    return [PromptPiece(token_id=found.token_id, piece=found.piece, logprob=found.logprob, top=found.top)]


def echoed(prompt: Prompt) -> str:
    """A prompt's text, which its tokens' own bytes make."""
    return b"".join(token.piece for token in prompt.tokens).decode(errors="replace")


def choices_of(answer: ResponseMetadata, prompt: int) -> range:
    """The choices of one of the prompts."""
    each = answer.n // max(1, answer.prompts)
    return range(prompt * each, (prompt + 1) * each)


class CompletionChunkFold:
    """As `ChunkFold`, for text completions."""

    def __init__(self, answer: ResponseMetadata) -> None:
        self.answer = answer
        self.started = Started(prompt_tokens=0)
        self.tokens = 0
        self.ended = False
        self._open_choices = set(range(answer.n))
        self._scores = [ScoredText() for _ in range(answer.n)]

    def feed(self, event: Event) -> list[bytes]:
        if self.ended:
            return []
        match event:
            case Prompt():
                return [self._echo(choice, event) for choice in choices_of(self.answer, event.index)]
            case Started():
                self.started = self.started if self.tokens else event
            case Token():
                return self._token(event)
            case Done():
                return self._done()
            case Failed():
                self.ended = True
                return [_json.encode(error_object(failure(event))), DONE]
        return []

    def _echo(self, choice: int, prompt: Prompt) -> bytes:
        scored = self._scores[choice].logprobs(prompt.tokens) if self.answer.logprobs else None
        return self._chunk(choice, echoed(prompt), scored, None)

    def _token(self, event: Token) -> list[bytes]:
        self.tokens += 1
        if event.finish:
            self._open_choices.discard(event.choice)
        pieces = _scored(event) if self.answer.logprobs else []
        if not (event.text or pieces or event.finish):
            return []
        scored = self._scores[event.choice].logprobs(pieces) if pieces else None
        return [self._chunk(event.choice, event.text, scored, event.finish)]

    def _done(self) -> list[bytes]:
        self.ended = True
        chunks = [self._chunk(choice, "", None, "abort") for choice in sorted(self._open_choices)]
        if self.answer.include_usage:
            chunks.append(_json.encode({**self.answer.shared(OBJECT), "choices": [], "usage": self._usage()}))
        return [*chunks, DONE]

    def _chunk(self, choice: int, text: str, logprobs: dict[str, Any] | None, finish: str | None) -> bytes:
        one = {"index": choice, "text": text, "logprobs": logprobs, "finish_reason": finish}
        chunk = {**self.answer.shared(OBJECT), "choices": [one]}
        if self.answer.include_usage or self.answer.continuous_usage:
            chunk["usage"] = self._usage() if self.answer.continuous_usage else None
        return _json.encode(chunk)

    def _usage(self) -> dict[str, Any]:
        return usage(self.answer, self.started, self.tokens)


@dataclass(slots=True)
class CompletionWholeFold:
    """As `WholeFold`, for text completions."""

    answer: ResponseMetadata
    started: Started = field(default_factory=lambda: Started(prompt_tokens=0))
    tokens: int = 0
    texts: dict[int, list[str]] = field(default_factory=dict)
    scored: dict[int, list[PromptPiece]] = field(default_factory=dict)
    finishes: dict[int, str] = field(default_factory=dict)

    def feed(self, event: Event) -> dict[str, Any] | None:
        """The answer once it is whole, else None. Raises the request's failure."""
        match event:
            case Prompt():
                for choice in choices_of(self.answer, event.index):
                    self.texts[choice] = [echoed(event)]
                    self.scored[choice] = list(event.tokens)
            case Started() if self.tokens == 0:
                self.started = event
            case Token():
                self.tokens += 1
                self.texts.setdefault(event.choice, []).append(event.text)
                self.scored.setdefault(event.choice, []).extend(_scored(event))
                if event.finish:
                    self.finishes[event.choice] = event.finish
            case Done():
                return self._whole()
            case Failed():
                raise failure(event)
        return None

    def _whole(self) -> dict[str, Any]:
        return {
            **self.answer.shared(OBJECT),
            "choices": [self._choice(index) for index in range(self.answer.n)],
            "usage": usage(self.answer, self.started, self.tokens),
        }

    def _choice(self, index: int) -> dict[str, Any]:
        scored = ScoredText().logprobs(self.scored.get(index, [])) if self.answer.logprobs else None
        return {
            "index": index,
            "text": "".join(self.texts.get(index, [])),
            "logprobs": scored,
            "finish_reason": self.finishes.get(index, "abort"),
        }
