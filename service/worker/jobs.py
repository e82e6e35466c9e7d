"""A request in the worker: its delivery, its choices and what became of each."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pandagpt_core.interface import SequenceRequest
from pandagpt_core.types import NOTHING_FOUND, Conversation, Fields, FinishReason, Found, MediaUse, TokenOutput, Turn
from service.broker.protocol import NO_TOKEN, Done, Failed, Generate, Logprob, Prompt, Started, Token
from service.broker.worker.delivery import Delivery

log = logging.getLogger(__name__)

Parse = Callable[[str], Fields | None]


def plain_text(_: str) -> None:
    """The parse of a system whose answers have no fields."""


@dataclass(slots=True)
class ChoiceState:
    """One sequence: the tokens and the text published so far, by any worker, and whether it is complete."""

    tokens: list[int] = field(default_factory=list)
    text: str = ""
    finished: bool = False


@dataclass(slots=True, eq=False)
class Job:
    """The worker's own state of one request. `embeddings` fills up by media name; `waits_for` are the missing ones.

    `parse` reads the structured fields out of a whole answer.
    """

    id: str  # of the request
    delivery: Delivery
    choices: list[ChoiceState]
    parse: Parse = plain_text
    load: int = 1  # sequences; a request that only embeds counts as one
    embeddings: dict[str, np.ndarray] = field(default_factory=dict)
    waits_for: set[str] = field(default_factory=set)
    cached_items: int = 0
    prompt_tokens: int = 0
    taken_at: float = 0.0  # from the queue; Unix seconds, as the next two
    entered_at: float = 0.0  # into the engine
    first_token_at: float = 0.0
    asked: Conversation | None = None  # with the speech in its sounds; None: as the request has it
    found: Found | None = None  # result of the search in the model's cache of pictures; None: not searched yet
    prompt_fields: Fields | None = None  # facts about the prompt, the same for all choices
    announced: bool = False  # whether Started stands in the stream
    echoed: set[int] = field(default_factory=set)  # the prompts whose tokens stand in the stream
    heard_tokens: int = 0  # of the windows of a sound that stand in the stream
    outcome: str = "running"  # then done, cancelled or the failure's code
    completion_tokens: int = 0  # once it has ended: of all choices, or of the text of a sound, by any worker
    ended: bool = False
    open_choices: int = 0
    last: Token | None = None  # of all tokens, held back with the end until the answer is explained
    explanations: list[dict[str, Any]] = field(default_factory=list)  # of each choice

    @classmethod
    def of(cls, delivery: Delivery, parse: Parse = plain_text) -> "Job":
        """A job that goes on where earlier attempts stopped."""
        request = delivery.request
        many = request.n * max(1, len(request.prompts)) if isinstance(request, Generate) else 0
        choices = [ChoiceState() for _ in range(many)]
        for event in delivery.history.events:
            if isinstance(event, Token):
                if event.token_id != NO_TOKEN:
                    choices[event.choice].tokens.append(event.token_id)
                choices[event.choice].text += event.text
                choices[event.choice].finished = event.finish is not None
        echoed = {event.index for event in delivery.history.events if isinstance(event, Prompt)}
        announced = any(isinstance(event, Started) for event in delivery.history.events)
        running = sum(not choice.finished for choice in choices)
        return cls(
            request.id,
            delivery,
            choices,
            parse,
            load=max(1, len(choices)),
            announced=announced,
            echoed=echoed,
            open_choices=running,
            taken_at=time.time(),
        )

    def accept(self, output: TokenOutput) -> None:
        """Publish one token, and the end with the last one."""
        number = int(output.sequence_id.rpartition("/")[2])
        choice = self.choices[number]
        if output.error is not None or output.finish_reason == "abort":
            self.end(Failed(code="engine_error", message=output.error or "the engine gave the sequence up"))
            return
        choice.tokens.append(output.token_id)
        choice.text += output.text
        choice.finished = output.finish_reason is not None
        self.first_token_at = self.first_token_at or time.time()
        self._publish(_token(number, output))

    def complete(self, sequence: str, reason: FinishReason) -> None:
        """Publish the end of a choice whose published tokens are the whole answer: no engine output ends it."""
        number = int(sequence.rpartition("/")[2])
        assert reason != "abort", "an aborted sequence is not complete"
        self.choices[number].finished = True
        self._publish(Token(choice=number, token_id=NO_TOKEN, text="", finish=reason))

    def _publish(self, token: Token) -> None:
        """Add the token, and after the last choice's last token the end; both later where it is to be explained."""
        self.open_choices = sum(not each.finished for each in self.choices)
        request = self.delivery.request
        if not self.open_choices and isinstance(request, Generate) and request.explain:
            self.last = token
            return
        self.delivery.writer.add(token, *(() if self.open_choices else (self._ended(Done()),)))

    def explained(self, explanations: list[dict[str, Any]]) -> None:
        """Publish the last token and the end. explanations: of each choice; none where there is no explanation."""
        assert self.last is not None, "an answer is explained when it is complete"
        self.explanations = explanations
        self.delivery.writer.add(self.last, self._ended(Done()))

    def end(self, end: Done | Failed) -> None:
        """Add the one end, with its time and counts."""
        self.delivery.writer.add(self._ended(end))

    def _ended(self, end: Done | Failed) -> Done | Failed:
        self.ended, self.open_choices = True, 0
        self.completion_tokens = self.heard_tokens + sum(len(choice.tokens) for choice in self.choices)
        if isinstance(end, Failed):
            self.outcome = end.code
            return Failed(code=end.code, message=end.message, param=end.param, at=time.time())
        self.outcome = "cancelled" if end.cancelled else "done"
        return Done(
            at=time.time(),
            first_token_at=self.first_token_at,
            completion_tokens=self.completion_tokens,
            cancelled=end.cancelled,
            fields=[] if end.cancelled else self._fields(),
            explained_tokens=sum(one["contributions"]["read_tokens"] for one in self.explanations),
        )

    def _fields(self) -> list[dict[str, Any] | None]:
        """The fields of each choice; an empty list where no choice has any."""
        try:
            parsed = [self.parse(choice.text) for choice in self.choices]
        except Exception:  # a parser's fault must not lose an answer that is complete
            log.exception("an answer could not be parsed", extra={"request_id": self.id})
            return []
        explained = self.explanations or [{} for _ in parsed]
        pairs = zip(parsed, explained, strict=True)
        fields = [{**(self.prompt_fields or {}), **(each or {}), **more} or None for each, more in pairs]
        return fields if any(fields) else []


def conversation_of(request: Generate) -> Conversation:
    """The request's turns and media in the model's vocabulary."""
    turns = tuple(Turn(turn.role, turn.text, tuple(turn.tool_calls)) for turn in request.turns)
    media = tuple(MediaUse(part.modality, part.digest, part.turn, part.weight) for part in request.media)
    return Conversation(turns, media, request.options, tuple(request.tools), request.continue_final)


def pending(job: Job, request: Generate) -> Iterator[SequenceRequest]:
    """A sequence for each choice that still runs, resumed after its published tokens."""
    asked, embeddings = job.asked or conversation_of(request), _embeddings(job, request)
    for number, choice in enumerate(job.choices):
        if not choice.finished:
            yield _sequence(job, request, number, asked, embeddings)


def sequence_of(job: Job, request: Generate, number: int) -> SequenceRequest:
    """The sequence of a choice, whether it still runs or not."""
    return _sequence(job, request, number, job.asked or conversation_of(request), _embeddings(job, request))


def _embeddings(job: Job, request: Generate) -> list[np.ndarray]:
    return [job.embeddings[part.blob] for part in request.media]


def _sequence(
    job: Job, request: Generate, number: int, asked: Conversation, embeddings: Sequence[np.ndarray]
) -> SequenceRequest:
    """Choices of one request have the same conversation and `embeddings`, and so share what is read of the prompt."""
    params = replace(request.params, seed=seed_of(request.params.seed, number % request.n))
    return SequenceRequest(
        f"{job.id}/{number}",
        asked,
        embeddings,
        params,
        job.choices[number].tokens,
        request.priority,
        request.cache_group or request.tenant,
        request.prompts[number // request.n] if request.prompts else None,
        job.found or NOTHING_FOUND,
    )


def seed_of(seed: int, choice: int) -> int:
    """The seed of a choice. The first has the request's own, so `n` changes nothing for it; below 2**63."""
    if choice == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}/{choice}".encode()).digest()[:8], "little") >> 1


def _token(number: int, output: TokenOutput) -> Token:
    chosen = output.logprob
    logprob = (
        Logprob(token_id=chosen.token_id, piece=chosen.piece, logprob=chosen.logprob, top=list(chosen.top))
        if chosen
        else None
    )
    finish = output.finish_reason
    assert finish != "abort", "an aborted sequence has no last token"
    return Token(choice=number, token_id=output.token_id, text=output.text, finish=finish, logprob=logprob)
