"""Our own choice of tokens inside vLLM's batch, so that an answer resumed there goes on as the whole one.

vLLM draws from a generator that a new request begins anew, and counts penalties over what that request generated: a
resumed answer would be another one. Its structured output begins anew too, and needs a tokenizer that it has loaded. So
tokens that are not plainly greedy are chosen here, by the same functions of (seed, position) and of all tokens so far,
and vLLM is left one token to take.
"""

from collections.abc import Mapping
from collections.abc import Sequence as Items
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from pandagpt_core.engine.constraints import GrammarCompiler, TokenConstraint, constraints_of
from pandagpt_core.engine.penalties import History, penalises
from pandagpt_core.engine.sampler import sample
from pandagpt_core.types import Grammar, SamplingParams

KEY = "pandagpt"  # in vLLM's `extra_args` of a request
# `engine.py` handles these: they end an answer, or are reported beside it. Every other parameter travels.
ELSEWHERE = frozenset({"max_tokens", "stop", "stop_token_ids", "logprobs"})
# Any of these makes the choice ours, also of a greedy request.
CONSTRAINING = ("min_tokens", "logit_bias", "bad_words", "no_repeat_ngram_size", "grammar")


def extra_args_of(
    params: SamplingParams, resumed: int, soft: Items[int], ends: Items[int] = ()
) -> dict[str, Any] | None:
    """The part of a request that `row_of` reads, in plain values; None where vLLM's own greedy choice is ours.

    resumed: how many of the prompt's last tokens an earlier attempt generated. soft: positions that hold no token.
    ends: ids that end the answer.
    """
    if params.temperature == 0 and not penalises(params) and not any(getattr(params, name) for name in CONSTRAINING):
        return None
    named = {name: value for name, value in asdict(params).items() if name not in ELSEWHERE}
    return {KEY: {"params": named, "resumed": resumed, "soft": list(soft), "ends": list(ends)}}


def _params_of(named: Mapping[str, Any]) -> SamplingParams:
    grammar = named["grammar"]
    return SamplingParams(**{**named, "grammar": None if grammar is None else Grammar(**grammar)})


class VllmRow:
    """A request in vLLM's batch, as the sampler sees a sequence. `output` is vLLM's own list, which grows."""

    def __init__(
        self, carried: Mapping[str, Any], prompt: Items[int], output: Items[int], vocab: int, grammars: GrammarCompiler
    ) -> None:
        self.params = _params_of(carried["params"])
        self._resumed, self._output, self._counted = int(carried["resumed"]), output, 0
        asked = len(prompt) - self._resumed
        self.constraints: Items[TokenConstraint] = constraints_of(self.params, frozenset(carried["ends"]), grammars)
        self.history: History | None = None
        if penalises(self.params):
            soft = frozenset(carried["soft"])
            self.history = History(vocab, [token for at, token in enumerate(prompt[:asked]) if at not in soft])
        self._count(prompt[asked:])

    @property
    def tokens(self) -> range:
        """As many as were generated; which they are stands in the history."""
        return range(self._resumed + len(self._output))

    def catch_up(self) -> None:
        """Count what was generated since the last time."""
        self._count(self._output[self._counted :])
        self._counted = len(self._output)

    def _count(self, tokens: Items[int]) -> None:
        for token in tokens:
            if self.history is not None:
                self.history.count(token)
            for constraint in self.constraints:
                constraint.consume(token)


def row_of(
    params: Any, prompt: Items[int] | None, output: Items[int], vocab: int, grammars: GrammarCompiler
) -> VllmRow | None:
    """The row of a request that comes into the batch, also of one that was preempted; None where vLLM chooses."""
    carried = (params.extra_args or {}).get(KEY)
    return None if carried is None else VllmRow(carried, prompt or (), output, vocab, grammars)


def keep_chosen(logits: Tensor, rows: Mapping[int, VllmRow]) -> Tensor:
    """[N, V] float32 logits, in place: in each of these rows all but the chosen token become -inf.

    A row that is not finite is left as it is: its fault must not stop the others.
    """
    if not rows:
        return logits
    places = torch.tensor(sorted(rows), device=logits.device)
    places = places[logits[places].isfinite().all(dim=-1)]
    chosen = [rows[place] for place in places.tolist()]
    for row in chosen:
        row.catch_up()
    if chosen:
        tokens = torch.tensor([choice.token_id for choice in sample(logits[places], chosen)], device=logits.device)
        logits[places] = float("-inf")
        logits[places, tokens] = 0.0
    return logits
