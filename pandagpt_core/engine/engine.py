"""Continuous batching: sequences come and go at any step, and every step computes one packed forward pass."""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property, partial
from itertools import accumulate

import torch

from pandagpt_core.engine.config import EngineConfig, resolve
from pandagpt_core.engine.constraints import GrammarCompiler, GrammarConstraint
from pandagpt_core.engine.isolation import StepOutcome, run_isolated
from pandagpt_core.engine.kv_cache_manager import KVCacheManager
from pandagpt_core.engine.passes import chosen_rows
from pandagpt_core.engine.request import EngineRequest, check_request, make_sequence
from pandagpt_core.engine.runners import Runner, make_runner
from pandagpt_core.engine.sampler import SampledToken, sample
from pandagpt_core.engine.scheduler import Scheduler
from pandagpt_core.engine.sequence import ScheduledChunk, Sequence
from pandagpt_core.engine.speculation.ngram_table import NgramTable
from pandagpt_core.engine.speculation.prompt_lookup import PromptLookup
from pandagpt_core.engine.speculation.speculator import Speculator
from pandagpt_core.errors import EngineError
from pandagpt_core.interface import Admitted, EngineStats
from pandagpt_core.llm.attention.cache import token_bytes
from pandagpt_core.llm.language_model import LanguageModel
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.types import TokenLogprob, TokenOutput

NO_TOKEN = -1  # the token id of an output that reports an error


class Engine:
    """Not thread-safe: one loop adds, steps and aborts."""

    def __init__(
        self,
        llm: LanguageModel,
        tokenizer: Tokenizer,
        config: EngineConfig | None = None,
        runner: Runner | None = None,
        ngrams: NgramTable | None = None,
    ) -> None:
        """runner: the one of the library that serves the model, where none is given. ngrams: drafts beside those out
        of a sequence itself."""
        self._llm, self._tokenizer = llm, tokenizer
        self._grammars = GrammarCompiler(tokenizer)
        self._masks = MasksAhead(llm.config.vocab)
        bytes_each = token_bytes(llm.config, llm.cache_dtype)
        self.sizes = resolve(config or EngineConfig(), llm.config.max_positions, bytes_each)
        self._runner: Runner = runner or make_runner(llm, self.sizes)
        self._cache = KVCacheManager(self._runner, self.sizes.prefix_blocks, self.sizes.block_size)
        self._speculator = Speculator(
            self.sizes.speculative_tokens if self._runner.speculates else 0,
            (PromptLookup(),) if ngrams is None else (PromptLookup(), ngrams),
            self._runner.computed,
            self._runner.change,
        )
        self._scheduler = Scheduler(self.sizes, min(self._runner.slots, self.sizes.max_running), self._cache)

    def add(self, request: EngineRequest) -> Admitted:
        """Queue a sequence; its outputs come from later steps.

        Raises ContextLengthExceeded, and EngineError for inputs that are no prompt of this model.
        """
        if request.id in self._scheduler:
            raise EngineError("a sequence of this id is already in the engine")
        model, context = self._llm.config, self.sizes.max_model_len
        check_request(request, model, context)
        sequence = make_sequence(request, self._tokenizer, model.vocab, context, self._grammars)
        finished = sequence.replay(request.resume)
        if finished is not None:
            return Admitted(sequence.prompt_length, finished=finished)
        self._scheduler.add(sequence)
        return Admitted(sequence.prompt_length, self._cache.reserve(sequence))

    @torch.inference_mode()
    def step(self) -> list[TokenOutput]:
        """Compute one step: the next token of every sequence whose prompt has been read, and those that follow it where
        a draft of them was right."""
        scheduled = self._scheduler.schedule()
        if not scheduled:
            return []
        outcome = self._run(self._speculator.add_drafts(scheduled))
        for chunk in outcome.ready:
            if not chunk.sequence.prefix_cached:
                self._cache.cache_prefix(chunk.sequence)
        return self._sample(outcome) + [self._fail(*pair) for pair in outcome.failed.items()]

    def _run(self, chunks: list[ScheduledChunk]) -> StepOutcome:
        begun = time.perf_counter()
        with self._masks.computing(chunks):
            outcome = run_isolated(self._runner, chunks)
        self._speculator.observe(chunks, time.perf_counter() - begun)
        return outcome

    def _sample(self, outcome: StepOutcome) -> list[TokenOutput]:
        """A token of each ready sequence; of those whose draft it equals the next one, whose logits are there too."""
        outputs, depth = list[TokenOutput](), 0
        ends = accumulate(chunk.asked for chunk in outcome.ready)
        going = [(chunk, end - chunk.asked) for chunk, end in zip(outcome.ready, ends, strict=True)]
        while going:
            chunks, rows = [chunk for chunk, _ in going], [row for _, row in going]
            tokens, going = sample(chosen_rows(outcome.logits, rows), [chunk.sequence for chunk in chunks]), []
            for chunk, row, token in zip(chunks, rows, tokens, strict=True):
                right = chunk.draft[depth : depth + 1] == (token.token_id,)
                chunk.sequence.num_computed_tokens += right  # the draft's token has been computed at its place
                outputs.append(self._publish(chunk.sequence, token))
                if right and outputs[-1].finish_reason is None:
                    going.append((chunk, row + 1))
                else:
                    self._speculator.learn(chunk, depth + right)
            depth += 1
        # Only now: a sequence that leaves lets its runner move another one's keys and values, as many as are counted.
        for output in outputs:
            if output.finish_reason is not None:
                self.abort(output.sequence_id)
        return outputs

    def abort(self, sequence_id: str) -> None:
        """Forget a sequence and free what it holds; no output follows. An unknown id is no error."""
        sequence = self._scheduler.remove(sequence_id)
        if sequence is not None:
            self._speculator.forget(sequence)
            self._cache.cancel(sequence)

    @property
    def context(self) -> int:
        return self.sizes.max_model_len

    def close(self) -> None:
        """Nothing: its memory goes with it."""

    @property
    def has_work(self) -> bool:
        return bool(self._scheduler.running) or self._scheduler.waiting > 0

    def stats(self) -> EngineStats:
        scheduler = self._scheduler
        return EngineStats(
            len(scheduler.running),
            scheduler.waiting,
            scheduler.used_blocks,
            self.sizes.kv_blocks,
            scheduler.num_preemptions,
            self._cache.stats(),
            self._speculator.drafted,
            self._speculator.accepted,
        )

    def _publish(self, sequence: Sequence, token: SampledToken) -> TokenOutput:
        text, finish_reason = sequence.append(token.token_id)
        logprob = self._logprob(token, first=len(sequence.tokens) == 1)
        return TokenOutput(sequence.id, token.token_id, text, finish_reason, logprob)

    def _fail(self, sequence: Sequence, error: str) -> TokenOutput:
        self.abort(sequence.id)
        return TokenOutput(sequence.id, NO_TOKEN, "", error=error)

    def _logprob(self, token: SampledToken, first: bool) -> TokenLogprob | None:
        if token.logprob is None:
            return None
        piece = partial(self._tokenizer.token_bytes, first=first)
        top = tuple((token_id, piece(token_id), logprob) for token_id, logprob in token.top)
        return TokenLogprob(token.token_id, piece(token.token_id), token.logprob, top)


class MasksAhead:
    """Masks of structured output, on a thread of its own while a step's forward pass runs.

    A mask depends on the tokens so far alone, not on the logits, and the masks' library works without the interpreter's
    lock. `vocab`: columns of the logits. The thread is there once a grammar is.
    """

    def __init__(self, vocab: int) -> None:
        self._vocab = vocab

    @contextmanager
    def computing(self, chunks: Iterable[ScheduledChunk]) -> Iterator[None]:
        """While the body runs, compute the masks of the chunks that reach their next token; then wait for them."""
        sampled = [chunk.sequence for chunk in chunks if chunk.samples]
        held = [one for sequence in sampled for one in sequence.constraints if isinstance(one, GrammarConstraint)]
        if not held:
            yield
            return
        computed = self._thread.submit(self._prepare, held)
        try:
            yield
        finally:
            computed.result()

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="masks")

    def _prepare(self, constraints: Iterable[GrammarConstraint]) -> None:
        for constraint in constraints:
            constraint.prepare(self._vocab)
