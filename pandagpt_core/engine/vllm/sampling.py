"""Our own choice of tokens inside vLLM's batch, so that an answer resumed there goes on as the whole one.

vLLM draws from a generator that a new request begins anew, and counts penalties over what that request generated: a
resumed answer would be another one. So what is not plainly greedy is chosen here, by the same functions of (seed,
position) and of all tokens so far, and vLLM is left one token to take.
"""

from collections.abc import Mapping
from collections.abc import Sequence as Items
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from pandagpt_core.engine.constraints import (
    BadWords,
    LogitBias,
    MinTokens,
    NoRepeatNgram,
    TokenConstraint,
)
from pandagpt_core.engine.penalties import History, penalises
from pandagpt_core.engine.sampler import sample
from pandagpt_core.types import SamplingParams

KEY = "pandagpt"  # in vLLM's `extra_args` of a request
# `engine.py` handles these: they end an answer, or are reported beside it. Every other parameter travels.
ELSEWHERE = frozenset({"max_tokens", "stop", "stop_token_ids", "ignore_eos", "logprobs", "grammar"})
FIELDS = tuple(field.name for field in fields(SamplingParams) if field.name not in ELSEWHERE)


def said_of(
    params: SamplingParams, resumed: int, soft: Items[int], ends: Items[int] = (), bad: Items[Items[int]] = ()
) -> dict[str, Any] | None:
    """What a request carries to `row_of`; None where vLLM's own greedy choice is ours.

    resumed: how many of the prompt's last tokens an earlier attempt generated. soft: positions that hold no token.
    ends: ids that end the answer. bad: token sequences that may not be completed.
    """
    plain = not (penalises(params) or params.min_tokens or params.logit_bias or params.bad_words)
    plain = plain and not params.no_repeat_ngram_size
    if params.temperature == 0 and plain:
        return None
    named = {name: getattr(params, name) for name in FIELDS}
    return {
        KEY: {
            "params": named,
            "resumed": resumed,
            "soft": list(soft),
            "ends": list(ends),
            "bad": [list(one) for one in bad],
        }
    }


class VllmRow:
    """A request in vLLM's batch, as the sampler sees a sequence. `output` is vLLM's own list, which grows."""

    def __init__(self, said: Mapping[str, Any], prompt: Items[int], output: Items[int], vocab: int) -> None:
        self.params = SamplingParams(**said["params"])
        self.history: History | None = None
        self._resumed, self._output, self._counted = int(said["resumed"]), output, 0
        size = self.params.no_repeat_ngram_size
        of_all: list[TokenConstraint] = [BadWords(said["bad"]), *([NoRepeatNgram(size)] if size else [])]
        for token in prompt[len(prompt) - self._resumed :]:
            for constraint in of_all:
                constraint.consume(token)
        self.constraints: tuple[TokenConstraint, ...] = (
            LogitBias((int(token), value) for token, value in self.params.logit_bias),
            MinTokens(self.params.min_tokens - self._resumed, said["ends"]),
            *of_all,
        )
        if penalises(self.params):
            asked, soft = len(prompt) - self._resumed, frozenset(said["soft"])
            self.history = History(vocab, [token for at, token in enumerate(prompt[:asked]) if at not in soft])
            for token in prompt[asked:]:
                self.history.count(token)

    @property
    def tokens(self) -> range:
        """As many as were generated; which they are stands in the history."""
        return range(self._resumed + len(self._output))

    def catch_up(self) -> None:
        """Count what was generated since the last time."""
        for token in self._output[self._counted :]:
            if self.history is not None:
                self.history.count(token)
            for constraint in self.constraints:
                constraint.consume(token)
        self._counted = len(self._output)


def row_of(params: Any, prompt: Items[int] | None, output: Items[int], vocab: int) -> VllmRow | None:
    """The row of a request that comes into the batch, also of one that was preempted; None where vLLM chooses."""
    said = (params.extra_args or {}).get(KEY)
    return None if said is None else VllmRow(said, prompt or (), output, vocab)


def choose(logits: Tensor, rows: Mapping[int, VllmRow]) -> Tensor:
    """[N, V] float32 logits, in place: in each of these rows all but the chosen token become -inf.

    A row that is not finite is left as it is: whatever is wrong there must not stop the others.
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
