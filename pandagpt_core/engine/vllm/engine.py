"""vLLM's asynchronous engine behind the face of our own: `step` gives out what has come meanwhile.

Prompts go there as token ids and, where a position holds no token, embedding rows. Text, stop strings and ends are
made here, by the same code as in our own engine, and tokens are chosen by our own sampler inside vLLM (`sampling`):
an answer that another worker began goes on as it would have.
"""

import asyncio
import itertools
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from collections.abc import Sequence as Items
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from pandagpt_core.engine.constraints import GrammarCompiler
from pandagpt_core.engine.engine import NO_TOKEN
from pandagpt_core.engine.request import EngineRequest, check_request, make_sequence
from pandagpt_core.engine.sequence import Sequence
from pandagpt_core.engine.vllm.calls import Calls, VllmStats
from pandagpt_core.engine.vllm.sampling import extra_args_of
from pandagpt_core.errors import EngineDead, EngineError
from pandagpt_core.interface import Admitted, EngineStats, PrefixStats
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.types import Priority, TokenLogprob, TokenOutput

_T = TypeVar("_T")
WAIT = 0.02  # seconds that a step waits for the first token
RANKS: dict[Priority, int] = {"interactive": 0, "batch": 1}  # vLLM takes the smaller first


@dataclass(eq=False, slots=True)
class VllmRun:
    """A sequence in vLLM. Another attempt of the same id is another run, so a late output of this one is dropped."""

    sequence: Sequence
    name: str  # of the request there: never that of an attempt that is still being aborted
    task: "Future[None] | None" = None


@dataclass(frozen=True, slots=True)
class VllmOutput:
    """New tokens of a run, or why it is over."""

    run: VllmRun
    token_ids: Items[int] = ()
    logprobs: Items[Any] | None = None
    over: str | None = None


class Closed:
    """In vLLM's place after `close`: vLLM's own objects must go before the interpreter does."""

    errored = True

    def shutdown(self) -> None:
        """Stop the engine."""


class VllmEngine:
    """Not thread-safe: one loop adds, steps and aborts. `arguments` are those of vLLM's engine."""

    def __init__(self, arguments: Mapping[str, Any], calls: Calls, tokenizer: Tokenizer, config: LlamaConfig) -> None:
        self._calls, self._tokenizer, self._config = calls, tokenizer, config
        self._grammars = GrammarCompiler(tokenizer)
        self._runs: dict[str, VllmRun] = {}
        self._numbers = itertools.count()
        self._came: queue.SimpleQueue[VllmOutput] = queue.SimpleQueue()
        self._seen = VllmStats()
        self._loop = LoopThread("vllm")
        try:
            self._llm: Any = self._loop.call(lambda: calls.start(arguments, self._seen))
        except BaseException:
            self._loop.close()
            raise
        self._dtype: torch.dtype = self._llm.model_config.dtype
        self.context: int = self._llm.model_config.max_model_len

    def add(self, request: EngineRequest) -> Admitted:
        """Queue a sequence; its outputs come from later steps. As `Engine.add`, but for layer biases.

        `cached_tokens` is 0: vLLM reports the hits of its prefix cache later, in its own figures.
        Raises ContextLengthExceeded, EngineError, and EngineDead.
        """
        if request.id in self._runs:
            raise EngineError("a sequence of this id is already in the engine")
        inputs, resume = request.inputs, request.resume
        if inputs.layer_bias is not None:
            raise EngineError("the engine vllm cannot add a layer bias; serve this model with the engine own")
        check_request(request, self._config, self.context)
        sequence = make_sequence(request, self._tokenizer, self._config.vocab, self.context, self._grammars)
        finished = sequence.replay(resume)
        if finished is not None:
            return Admitted(sequence.prompt_length, finished=finished)
        prompt, sampling = self._prompt(request), self._sampling(sequence, len(resume))
        if self._is_dead:
            raise EngineDead("the engine vllm is dead")
        run = self._runs[request.id] = VllmRun(sequence, f"{request.id}-{next(self._numbers)}")
        run.task = self._loop.submit(self._follow(run, prompt, sampling, RANKS[request.priority]))
        return Admitted(sequence.prompt_length)

    def step(self) -> list[TokenOutput]:
        """Outputs since the last step; waits a moment if there are none. Raises EngineDead after the last output."""
        outputs = [output for came in self._arrived() for output in self._taken(came)]
        if self._is_dead and not outputs:
            raise EngineDead("the engine vllm is dead")
        return outputs

    def abort(self, sequence_id: str) -> None:
        """Forget a sequence, there too; no output follows. An unknown id is no error."""
        run = self._runs.pop(sequence_id, None)
        if run is not None and run.task is not None:
            run.task.cancel()

    @property
    def has_work(self) -> bool:
        return bool(self._runs) or self._is_dead

    def stats(self) -> EngineStats:
        """By vLLM's figures; a sequence that waits there is one that runs here. It does not report evictions."""
        seen = self._seen
        prefix = PrefixStats(seen.queries, seen.hits, blocks_used=0, blocks_total=0, evictions=0)
        used = round(seen.kv_used * seen.kv_blocks)
        waiting = min(seen.waiting, len(self._runs))  # its figure is that of the last step
        return EngineStats(len(self._runs) - waiting, waiting, used, seen.kv_blocks, seen.num_preemptions, prefix)

    def close(self) -> None:
        for sequence_id in list(self._runs):
            self.abort(sequence_id)
        self._loop.close()
        self._llm.shutdown()
        self._llm = Closed()

    @property
    def _is_dead(self) -> bool:
        return bool(self._llm.errored)

    def _prompt(self, request: EngineRequest) -> Any:
        """Token ids alone if the prompt has no more: those share vLLM's prefix cache for all parameters.

        The salt goes into the hash of vLLM's first block, so its tenants share no prefix at all.
        """
        prompt = self._unsalted(request.inputs, request.resume)
        return {**prompt, "cache_salt": request.tenant} if request.tenant else prompt

    def _unsalted(self, inputs: LLMInputs, resume: Items[int]) -> Any:
        ids = [*inputs.ids, *resume]
        if all(token >= 0 for token in ids):
            return self._calls.tokens_input(ids)
        return self._calls.embeds_input(
            self._rows(inputs, len(ids)),
            prompt_token_ids=[max(token, 0) for token in ids],
            is_token_ids=[token >= 0 for token in ids],
        )

    def _rows(self, inputs: LLMInputs, length: int) -> Tensor:
        """[T, D] on the CPU in the model's type, zeros where a token stands. One bad row would end vLLM for all."""
        rows = torch.zeros(length, self._config.width, dtype=self._dtype)
        soft = _soft(inputs)
        rows[soft] = inputs.embeds[soft].to("cpu", self._dtype)
        if not bool(rows.isfinite().all()):
            raise EngineError(f"the prompt's embeddings are not finite in {self._dtype}")
        return rows

    def _sampling(self, sequence: Sequence, resumed: int) -> Any:
        """vLLM takes the likeliest of what our sampler leaves it, and ends where the sequence does."""
        ends = sorted(sequence.stop_token_ids)
        return self._calls.sampling_params(
            temperature=0.0,
            max_tokens=sequence.max_tokens - resumed,
            ignore_eos=True,
            stop_token_ids=ends,
            logprobs=sequence.params.logprobs,
            detokenize=False,
            output_kind=self._calls.delta,
            extra_args=extra_args_of(sequence.params, resumed, _soft(sequence.inputs), ends),
        )

    async def _follow(self, run: VllmRun, prompt: Any, sampling: Any, rank: int) -> None:
        """On the loop: pass on what vLLM makes of one request."""
        over = None
        try:
            async for output in self._llm.generate(prompt, sampling, request_id=run.name, priority=rank):
                made = output.outputs[0]
                self._came.put(VllmOutput(run, tuple(made.token_ids), made.logprobs))
                over = made.finish_reason
            self._came.put(VllmOutput(run, over=f"vLLM ended the sequence: {over}"))
        except BaseException as error:
            # vLLM's own abort, when cancelled, misses a request that was just being handed over.
            await self._llm.abort(run.name)
            if not isinstance(error, Exception):
                raise
            self._came.put(VllmOutput(run, over=f"vLLM failed on the sequence: {type(error).__name__}"))

    def _arrived(self) -> Iterator[VllmOutput]:
        try:
            yield self._came.get(timeout=WAIT)
            while True:
                yield self._came.get_nowait()
        except queue.Empty:
            return

    def _taken(self, came: VllmOutput) -> Iterator[TokenOutput]:
        sequence = came.run.sequence
        for index, token_id in enumerate(came.token_ids):
            if self._runs.get(sequence.id) is not came.run:
                return  # aborted, or it ended with a stop string before vLLM noticed
            text, finish_reason = sequence.append(token_id)
            logprob = self._logprob(sequence, token_id, came.logprobs[index]) if came.logprobs else None
            if finish_reason is not None:
                self.abort(sequence.id)
            yield TokenOutput(sequence.id, token_id, text, finish_reason, logprob)
        if came.over is not None and self._runs.get(sequence.id) is came.run and not self._is_dead:
            self.abort(sequence.id)
            yield TokenOutput(sequence.id, NO_TOKEN, "", error=came.over)

    def _logprob(self, sequence: Sequence, token_id: int, made: Any) -> TokenLogprob:
        """Of vLLM's {id: logprob}, which holds the chosen one and as many of the likeliest as were asked for."""
        piece = partial(self._tokenizer.token_bytes, first=len(sequence.tokens) == 1)
        wanted = sequence.params.logprobs or 0
        likeliest = sorted(made.items(), key=lambda item: item[1].rank)[:wanted]
        top = tuple((other, piece(other), float(found.logprob)) for other, found in likeliest)
        return TokenLogprob(token_id, piece(token_id), float(made[token_id].logprob), top)


def _soft(inputs: LLMInputs) -> list[int]:
    """Positions that hold an embedding and no token."""
    return [at for at, token in enumerate(inputs.ids) if token < 0]


class LoopThread:
    """An event loop on a thread of its own, for a library that wants one. Runs until `close`.

    Every method may be called from any other thread.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, _T]) -> "Future[_T]":
        """Start it; cancelling the future cancels it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def call(self, function: Callable[[], _T]) -> _T:
        """Run a function on the loop's thread, where it finds the loop running, and wait for it."""

        async def called() -> _T:
            return function()

        return self.submit(called()).result()

    def close(self, grace: float = 5.0) -> None:
        """Cancel what runs, give it `grace` seconds to end, and stop. A second time does nothing."""
        if not self._thread.is_alive():
            return
        self.submit(self._cancel_all(grace)).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _cancel_all(self, grace: float) -> None:
        others = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=grace)
