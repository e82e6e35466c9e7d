"""The model of a worker: a model system and an engine joined. Embeddings cross this border as numpy arrays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np
import torch

from pandagpt_core.encoders.streams import Beside, here
from pandagpt_core.engine.base import TokenEngine
from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.interface import Admitted, EngineStats, PlainPrompt, PromptToken, SequenceRequest
from pandagpt_core.llm.autotune import RunnerName
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.quant.linear import Precision
from pandagpt_core.systems import System, plain
from pandagpt_core.systems.contributions import check_explainable, contributions
from pandagpt_core.types import (
    NOTHING_FOUND,
    Conversation,
    Fields,
    Found,
    Modality,
    ModelInfo,
    SamplingParams,
    TokenOutput,
    Turn,
)

CLIPS_AT_ONCE = 32  # a tower's batch: bounds the memory of activations (a video is 15 clips)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The inputs of a request's prompt, kept until the next step: its other choices begin with the same ones."""

    request: SequenceRequest
    inputs: LLMInputs

    def is_of(self, request: SequenceRequest) -> bool:
        """Whether the request holds the very same prompt, by identity."""
        own = self.request
        same_media = own.conversation is request.conversation and own.embeddings is request.embeddings
        return same_media and own.prompt is request.prompt


class Runtime:
    """One loop admits, steps and aborts. `encode` and `unit` change nothing: other threads may call them meanwhile,
    and `encode` keeps to streams of its own on a device that has streams."""

    def __init__(self, system: System, engine: TokenEngine, beside: Beside = here) -> None:
        self._system = system
        self._engine = engine
        self._beside = beside
        self._prepared: Prepared | None = None
        self._template = _template_ids(system)
        self.info: ModelInfo = _within(system.info, engine.context)
        # Of the language model's products; another engine than ours decides it by itself.
        own = isinstance(engine, Engine)
        self.precision: Precision | None = system.llm.precision if own else None
        self.runner: RunnerName | None = system.llm.backend if own else None

    def encode(self, modality: Modality, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Recipe arrays of one modality in, [n, E] float32 or float16 for each out. Raises UnsupportedModality."""
        embeddings: list[np.ndarray] = []
        with self._beside(modality):
            for batch in batches(arrays, CLIPS_AT_ONCE):
                embeddings += [rows.copy() for rows in self._system.encode(modality, batch).cpu().numpy()]
        return embeddings

    def unit(self, modality: Modality, embedding: np.ndarray) -> np.ndarray:
        """An embedding [n, E] as the unit vector [E] float32 that /v1/embeddings answers."""
        unit: np.ndarray = self._system.unit(modality, _tensor(embedding)).numpy()
        return unit

    def look_up(self, request: SequenceRequest) -> Iterator[Found | None]:
        """Search the model's cache of pictures as admission would: None before each piece, the result last.

        Raises ContextLengthExceeded, UnsupportedModality, InvalidRequest.
        """
        if request.prompt is not None:
            return iter((NOTHING_FOUND,))
        return self._system.look_up(request.conversation, [_tensor(embedding) for embedding in request.embeddings])

    def admit(self, request: SequenceRequest) -> Admitted:
        """Queue a sequence; its tokens come from later steps.

        Raises ContextLengthExceeded, UnsupportedModality, InvalidRequest; then nothing was queued.
        """
        inputs, params = self._read(request)
        public = len(_common(inputs.ids, self._template))
        sequence = EngineRequest(
            request.id, inputs, params, request.resume, request.priority, request.tenant, num_public=public
        )
        admitted = self._engine.add(sequence)
        return replace(admitted, fields=inputs.fields)

    def _read(self, request: SequenceRequest) -> tuple[LLMInputs, SamplingParams]:
        """The prompt; a plain one ends where the tokenizer's files or the caller set it, not where a template does."""
        prepared = self._prepared
        if prepared is None or not prepared.is_of(request):
            self._prepared = prepared = Prepared(request, self._inputs(request))
        params = request.params if request.prompt is not None else self._system.stops(request.params)
        return prepared.inputs, params

    def _inputs(self, request: SequenceRequest) -> LLMInputs:
        if request.prompt is not None:
            return plain.plain_inputs(self._system, plain.plain_ids(self._system, request.prompt))
        rows = [_tensor(embedding) for embedding in request.embeddings]
        return self._system.prepare(request.conversation, rows, request.found)

    def tokenize(self, prompt: PlainPrompt | Conversation, special: bool = True) -> list[int]:
        """The token ids that the language model reads of a prompt; `special`: with the beginning that text gets.

        Raises ContextLengthExceeded, InvalidRequest.
        """
        if isinstance(prompt, Conversation):
            return plain.conversation_ids(self._system, prompt)
        return plain.plain_ids(self._system, prompt, special)

    def detokenize(self, ids: Sequence[int]) -> str:
        """The text of token ids; control tokens have none. Raises InvalidRequest for an id beyond the vocabulary."""
        return self._system.tokenizer.decode(plain.plain_ids(self._system, ids))

    def prompt_tokens(self, prompt: PlainPrompt, top: int | None) -> Iterator[Sequence[PromptToken]]:
        """A prompt's tokens in lists, with `top` their log probabilities and so many alternatives.

        Each list is computed as it is drawn, and holds so few tokens that others may be served between.
        Raises ContextLengthExceeded, InvalidRequest, the second too where another engine holds the language model.
        """
        if top is not None and not isinstance(self._engine, Engine):
            raise InvalidRequest("this engine gives no log probabilities of a prompt", param="logprobs")
        return plain.prompt_tokens(self._system, plain.plain_ids(self._system, prompt), top)

    def check_explains(self, request: SequenceRequest) -> None:
        """Raises InvalidRequest where another engine holds the language model, or the model's media stand in no place
        of its prompt; and all that reading the prompt may raise."""
        if not isinstance(self._engine, Engine):
            raise InvalidRequest("this engine gives no log probabilities of an answer", param="explain")
        inputs, _ = self._read(request)
        check_explainable(inputs)

    def explain(self, request: SequenceRequest, answer: Sequence[int]) -> Iterator[Fields | None]:
        """None after each piece of the computing, and the fields `contributions` last (`systems.contributions`)."""
        rows = [_tensor(embedding) for embedding in request.embeddings]
        return contributions(self._system, request.conversation, rows, answer, request.found)

    def parse(self, text: str) -> Fields | None:
        """The structured fields of a whole answer; None for a system whose answers are plain text."""
        return self._system.parse(text)

    def step(self) -> list[TokenOutput]:
        """One engine step over the whole batch."""
        self._prepared = None
        return self._engine.step()

    def abort(self, sequence_id: str) -> None:
        """Forget a sequence; no output follows. An unknown id is no error."""
        self._engine.abort(sequence_id)

    @property
    def has_work(self) -> bool:
        return self._engine.has_work

    def stats(self) -> EngineStats:
        return self._engine.stats()

    def close(self) -> None:
        """Free what the engine holds beyond memory: another engine's processes."""
        self._engine.close()


def batches(arrays: Sequence[np.ndarray], clips: int) -> Iterator[Sequence[np.ndarray]]:
    """Runs of neighbours with at most so many clips together; an item is never split, however many it has."""
    start, held = 0, 0
    for index, array in enumerate(arrays):
        if index > start and held + len(array) > clips:
            yield arrays[start:index]
            start, held = index, 0
        held += len(array)
    if start < len(arrays):
        yield arrays[start:]


def _within(info: ModelInfo, context: int) -> ModelInfo:
    """The engine's cache may hold less than the model's context."""
    return replace(info, max_model_len=min(info.max_model_len, context))


def _tensor(embedding: np.ndarray) -> torch.Tensor:
    return torch.tensor(np.asarray(embedding, dtype=np.float32))  # a copy: cached ones are read-only views of bytes


def _template_ids(system: System) -> tuple[int, ...]:
    """The ids with which prompts of any caller begin: the common start of two prompts of different words."""
    first, second = (system.prepare(Conversation((Turn("user", text),)), []).ids for text in ("a", "0"))
    return _common(first, second)


def _common(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
    return tuple(token for token, _ in pairs)
