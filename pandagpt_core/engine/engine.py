"""Continuous batching: sequences come and go at any step, and every step computes one packed forward pass."""

from collections.abc import Sequence as Items

import torch

from pandagpt_core.engine.config import EngineConfig, resolve
from pandagpt_core.engine.isolation import run_isolated
from pandagpt_core.engine.kv_cache_manager import Memory
from pandagpt_core.engine.runners import Runner, make_runner
from pandagpt_core.engine.sampler import Choice, sample
from pandagpt_core.engine.scheduler import Scheduler
from pandagpt_core.engine.sequence import Sequence
from pandagpt_core.engine.validation import check_inputs, make_sequence
from pandagpt_core.errors import EngineError
from pandagpt_core.interface import Admitted, EngineStats
from pandagpt_core.llm.attention.cache import token_bytes
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.types import Priority, SamplingParams, TokenLogprob, TokenOutput

NO_TOKEN = -1  # the token id of an output that reports an error


class Engine:
    """Not thread-safe: one loop adds, steps and aborts."""

    def __init__(
        self, llm: Llama, tokenizer: Tokenizer, config: EngineConfig | None = None, runner: Runner | None = None
    ) -> None:
        self._llm, self._tokenizer = llm, tokenizer
        bytes_each = token_bytes(llm.config, llm.cache_dtype)
        self.sizes = resolve(config or EngineConfig(), llm.config.max_positions, bytes_each)
        self._runner: Runner = runner or make_runner(llm, self.sizes)
        self._memory = Memory(self._runner, self.sizes.prefix_blocks, self.sizes.block_size)
        self._scheduler = Scheduler(self.sizes, min(self._runner.slots, self.sizes.max_running), self._memory)

    def add(
        self,
        sequence_id: str,
        inputs: LLMInputs,
        params: SamplingParams,
        resume: Items[int] = (),
        priority: Priority = "interactive",
    ) -> Admitted:
        """Queue a sequence; its outputs come from later steps.

        resume: tokens that an earlier attempt already gave out. They are read as a prefix and not given out again,
        and what follows is what would have followed.
        Raises ContextLengthExceeded, and EngineError for inputs that are no prompt of this model.
        """
        if sequence_id in self._scheduler:
            raise EngineError("a sequence of this id is already in the engine")
        model, context = self._llm.config, self.sizes.max_model_len
        check_inputs(inputs, resume, model, context)
        sequence = make_sequence(sequence_id, inputs, params, priority, self._tokenizer, model.vocab, context)
        finished = sequence.replay(resume)
        if finished is not None:
            return Admitted(sequence.prompt_length, finished=finished)
        self._scheduler.add(sequence)
        return Admitted(sequence.prompt_length, self._memory.promise(sequence))

    @torch.inference_mode()
    def step(self) -> list[TokenOutput]:
        """Compute one step: one more token of every sequence whose prompt has been read."""
        spans = self._scheduler.schedule()
        if not spans:
            return []
        outcome = run_isolated(self._runner, spans)
        for sequence in outcome.ready:
            if not sequence.kept:
                self._memory.keep(sequence)
        choices = sample(outcome.logits, outcome.ready) if outcome.ready else []
        outputs = [self._publish(*pair) for pair in zip(outcome.ready, choices, strict=True)]
        return outputs + [self._fail(*pair) for pair in outcome.failed.items()]

    def abort(self, sequence_id: str) -> None:
        """Forget a sequence and free what it holds; no output follows. An unknown id is no error."""
        sequence = self._scheduler.remove(sequence_id)
        if sequence is not None:
            self._memory.forget(sequence)

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
            scheduler.put_out,
            self._memory.stats(),
        )

    def _publish(self, sequence: Sequence, choice: Choice) -> TokenOutput:
        text, finish_reason = sequence.append(choice.token_id)
        if finish_reason is not None:
            self.abort(sequence.id)
        return TokenOutput(sequence.id, choice.token_id, text, finish_reason, self._logprob(choice))

    def _fail(self, sequence: Sequence, error: str) -> TokenOutput:
        self.abort(sequence.id)
        return TokenOutput(sequence.id, NO_TOKEN, "", error=error)

    def _logprob(self, choice: Choice) -> TokenLogprob | None:
        if choice.logprob is None:
            return None
        text = self._tokenizer.token_text
        top = tuple((token_id, text(token_id), logprob) for token_id, logprob in choice.top)
        return TokenLogprob(choice.token_id, text(choice.token_id), choice.logprob, top)
