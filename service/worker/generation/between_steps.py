"""Computing outside of the engine's batch: searches in a large cache of pictures, log probabilities of prompts that
come back before their answer (`echo`), and explanations of complete answers (`explain`).

A search in a million rows takes about a second of a CPU. So each turn of the worker's loop computes one short piece for
one job of each kind, between the steps of the others.
"""

import logging
from collections import deque
from collections.abc import Iterator
from typing import Any

from pandagpt_core.errors import ContextLengthExceeded
from pandagpt_core.interface import PromptToken, ServedModel
from pandagpt_core.types import NOTHING_FOUND
from service.broker.protocol import Generate, Prompt, PromptPiece
from service.worker.jobs import Job, sequence_of

log = logging.getLogger(__name__)
_LAST = object()


class PieceQueue:
    """Jobs that wait for one kind of computing, first come, first served. `waiting`: each with the pieces left."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[Job, Iterator[None]]] = deque()

    def add(self, job: Job, pieces: Iterator[None]) -> None:
        self.waiting.append((job, pieces))

    def begin(self, job: Job, pieces: Iterator[None]) -> bool:
        """Compute the first piece. True where the job waits for more, false where there is none."""
        if next(pieces, _LAST) is _LAST:
            return False
        self.waiting.append((job, pieces))
        return True

    def holds(self, job: Job) -> bool:
        return any(one is job for one, _ in self.waiting)

    def step(self) -> bool:
        """Compute a piece for the first. True after its last piece; then it waits no more.

        Raises what the model raises; then it waits no more either.
        """
        job, pieces = self.waiting.popleft()
        if next(pieces, _LAST) is _LAST:
            return True
        self.waiting.appendleft((job, pieces))
        return False

    def drop(self, job: Job) -> None:
        """The job ended or is another worker's now. Jobs that are not here are fine."""
        self.waiting = deque(one for one in self.waiting if one[0] is not job)


def look_up(runtime: ServedModel, job: Job, request: Generate) -> Iterator[None]:
    """Search the model's cache of pictures for the job's media. Raises the model's errors for its request."""
    for found in runtime.look_up(sequence_of(job, request, 0)):
        if found is not None:
            job.found = found
            return
        yield
    job.found = NOTHING_FOUND


def publish_prompts(runtime: ServedModel, job: Job, request: Generate) -> Iterator[None]:
    """Publish the prompts that do not stand in the job's stream yet, with log probabilities where those are wanted.

    Raises what the model raises, ContextLengthExceeded and InvalidRequest among it.
    """
    if request.params.logprobs is not None:
        _check_together(runtime, request)
    for index, prompt in enumerate(request.prompts):
        if index in job.echoed:
            continue
        tokens: list[PromptPiece] = []
        for piece in runtime.prompt_tokens(prompt, request.params.logprobs):
            tokens += map(_on_the_wire, piece)
            yield
        job.echoed.add(index)
        job.delivery.writer.add(Prompt(index=index, tokens=tokens))


def explain(runtime: ServedModel, job: Job, request: Generate) -> Iterator[None]:
    """Explain each choice, then publish the last token and the end. An error of the model leaves the answer without
    explanations."""
    explanations: list[dict[str, Any]] = []
    try:
        for number, choice in enumerate(job.choices):
            if number:
                yield
            pieces = runtime.explain(sequence_of(job, request, number), choice.tokens)
            while (fields := next(pieces)) is None:
                yield
            explanations.append(dict(fields))
    except Exception:  # a complete answer must not be lost by its explanation
        log.exception("an answer could not be explained", extra={"request_id": job.id})
        explanations = []
    job.explained(explanations)


def _check_together(runtime: ServedModel, request: Generate) -> None:
    """All prompts together fit one context: a request costs no more passes than its longest prompt could."""
    total = sum(len(runtime.tokenize(prompt)) for prompt in request.prompts)
    if total > (context := runtime.info.max_model_len):
        words = f"prompts with log probabilities may have {context} tokens together; these have {total}"
        raise ContextLengthExceeded(words, param="prompt")


def _on_the_wire(token: PromptToken) -> PromptPiece:
    return PromptPiece(token_id=token.token_id, piece=token.piece, logprob=token.logprob, top=list(token.top))
