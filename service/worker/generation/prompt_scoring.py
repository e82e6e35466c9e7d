"""Prompts that come back before their answer (`echo`): their tokens, and log probabilities where those are wanted.

Log probabilities need forward passes outside of the engine's batch. So each turn of the worker's loop computes one
short piece of one prompt, and a job enters the engine after its last piece.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pandagpt_core.errors import ContextLengthExceeded
from pandagpt_core.interface import PlainPrompt, PromptToken, ServedModel
from service.broker.protocol import Generate, Prompt, PromptPiece
from service.worker.jobs import Job


@dataclass(slots=True, eq=False)
class ScoringJob:
    """A job, the computing left for its prompt `index`, and that prompt's tokens so far."""

    job: Job
    index: int = -1
    pieces: Iterator[Sequence[PromptToken]] | None = None
    tokens: list[PromptPiece] = field(default_factory=list)


class PromptScoring:
    """`waiting`: jobs with prompts whose log probabilities do not stand in their stream yet, first come first."""

    def __init__(self, runtime: ServedModel) -> None:
        self._runtime = runtime
        self.waiting: deque[ScoringJob] = deque()

    def add(self, job: Job) -> bool:
        """Whether the job waits here for log probabilities. Prompts without those are published at once.

        Raises ContextLengthExceeded, InvalidRequest.
        """
        request = _request(job)
        missing = [index for index in range(len(request.prompts)) if index not in job.echoed] if request.echo else []
        if missing and request.params.logprobs is not None:
            self._check(request.prompts)
            self.waiting.append(ScoringJob(job))
            return True
        for index in missing:
            pieces = self._runtime.prompt_tokens(request.prompts[index], None)
            _publish(job, index, [_on_the_wire(token) for piece in pieces for token in piece])
        return False

    def step(self) -> bool:
        """Compute a piece for the first that waits. True when all of its prompts are published; then it waits no more.

        Raises what the model raises, ContextLengthExceeded and InvalidRequest among it.
        """
        scoring = self.waiting[0]
        if scoring.pieces is None:
            self._begin(scoring)
        assert scoring.pieces is not None
        piece = next(scoring.pieces, None)
        if piece is not None:
            scoring.tokens += map(_on_the_wire, piece)
            return False
        _publish(scoring.job, scoring.index, scoring.tokens)
        scoring.pieces = None
        if len(scoring.job.echoed) < len(_request(scoring.job).prompts):
            return False
        self.waiting.popleft()
        return True

    def drop(self, job: Job) -> None:
        """The job ended or is another worker's now. Jobs that are not here are fine."""
        self.waiting = deque(one for one in self.waiting if one.job is not job)

    def _begin(self, scoring: ScoringJob) -> None:
        """With the first prompt that is not published."""
        request = _request(scoring.job)
        scoring.index = next(index for index in range(len(request.prompts)) if index not in scoring.job.echoed)
        scoring.pieces = self._runtime.prompt_tokens(request.prompts[scoring.index], request.params.logprobs)
        scoring.tokens = []

    def _check(self, prompts: Sequence[PlainPrompt]) -> None:
        """All prompts together fit one context: a request costs no more passes than its longest prompt could."""
        total = sum(len(self._runtime.tokenize(prompt)) for prompt in prompts)
        if total > (context := self._runtime.info.max_model_len):
            words = f"prompts with log probabilities may have {context} tokens together; these have {total}"
            raise ContextLengthExceeded(words, param="prompt")


def _request(job: Job) -> Generate:
    request = job.delivery.request
    assert isinstance(request, Generate)
    return request


def _publish(job: Job, index: int, tokens: list[PromptPiece]) -> None:
    job.echoed.add(index)
    job.delivery.writer.add(Prompt(index=index, tokens=tokens))


def _on_the_wire(token: PromptToken) -> PromptPiece:
    return PromptPiece(token_id=token.token_id, piece=token.piece, logprob=token.logprob, top=list(token.top))
