"""Constraints of a sequence's next token: a grammar, a least length, a bias of single tokens, no repetition.

A grammar's automaton (llguidance) reads each token of the sequence, also those that an earlier attempt published, so a
resumed answer goes on within its grammar. Masks are of one row, so a row's choice depends on that row alone.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper
from numpy.typing import NDArray
from torch import Tensor

from pandagpt_core.errors import EngineError
from pandagpt_core.grammars import LIMITS, compiled
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.types import Grammar, SamplingParams


class TokenConstraint(Protocol):
    @property
    def bans(self) -> bool:
        """Whether `apply` may forbid tokens now; several constraints together may leave none."""
        ...

    def apply(self, logits: Tensor) -> None:
        """Change one row [V] in place: -inf where a token may not come next. Nothing else changes."""
        ...

    def consume(self, token_id: int) -> None:
        """The token that came."""
        ...


class LogitBias:
    bans = False

    def __init__(self, bias: Iterable[tuple[int, float]]) -> None:
        pairs = tuple(bias)
        self._ids = torch.tensor([token_id for token_id, _ in pairs], dtype=torch.long)
        self._values = torch.tensor([value for _, value in pairs], dtype=torch.float32)

    def apply(self, logits: Tensor) -> None:
        logits[self._ids.to(logits.device)] += self._values.to(logits.device)

    def consume(self, token_id: int) -> None:
        """A bias does not depend on what came."""


class MinTokens:
    """No end before so many tokens."""

    def __init__(self, tokens: int, ends: Iterable[int]) -> None:
        self._left, self._ends = tokens, torch.tensor(sorted(ends), dtype=torch.long)

    @property
    def bans(self) -> bool:
        return self._left > 0

    def apply(self, logits: Tensor) -> None:
        if self._left > 0:
            logits[self._ends.to(logits.device)] = float("-inf")

    def consume(self, token_id: int) -> None:  # noqa: ARG002 - the protocol's
        self._left -= 1


class BadWords:
    """No token that would complete one of these token sequences, as vLLM's `bad_words`."""

    bans = True

    def __init__(self, sequences: Iterable[Sequence[int]]) -> None:
        self._sequences = [(tuple(before), last) for *before, last in sequences]
        longest = max((len(before) for before, _ in self._sequences), default=0)
        self._tokens: deque[int] = deque(maxlen=longest)

    def apply(self, logits: Tensor) -> None:
        tokens = tuple(self._tokens)
        banned = [last for before, last in self._sequences if not before or tokens[-len(before) :] == before]
        if banned:
            logits[banned] = float("-inf")

    def consume(self, token_id: int) -> None:
        self._tokens.append(token_id)


class NoRepeatNgram:
    """No `size` tokens in a row that were generated before, as transformers' `no_repeat_ngram_size` (Paulus et al.
    2017, section 2.5). The prompt does not count: an answer may repeat its question's words."""

    def __init__(self, size: int) -> None:
        self._before, self._followers = size - 1, defaultdict[tuple[int, ...], list[int]](list)
        self._tokens: list[int] = []

    @property
    def bans(self) -> bool:
        return self._last() in self._followers

    def apply(self, logits: Tensor) -> None:
        if self.bans:
            logits[self._followers[self._last()]] = float("-inf")

    def consume(self, token_id: int) -> None:
        if len(self._tokens) >= self._before:
            self._followers[self._last()].append(token_id)
        self._tokens.append(token_id)

    def _last(self) -> tuple[int, ...]:
        return tuple(self._tokens[len(self._tokens) - self._before :])


def spellings(words: Iterable[str], encode: Callable[[str], list[int]]) -> list[tuple[int, ...]]:
    """The token sequences of words, at the beginning of a text and after a space."""
    texts = [text for word in words for text in (word.lstrip() or word, f" {word.lstrip()}")]
    return list(dict.fromkeys(tuple(ids) for text in texts if (ids := encode(text))))


class GrammarConstraint:
    """Tokens that keep the grammar; an end where the grammar may end.

    pieces: how many ids have one; the automaton may allow others. late: an end only where nothing else may come.
    """

    bans = True

    def __init__(self, matcher: LLMatcher, ends: Iterable[int], pieces: int, late: bool = False) -> None:
        self._matcher, self._pieces, self._late = matcher, pieces, late
        self._ends = frozenset(ends)
        self._end_ids = sorted(self._ends)
        self._forbidden = torch.empty(0, dtype=torch.bool)  # of the tokens so far; empty before `prepare`

    def prepare(self, vocab: int) -> None:
        """Compute the mask that `apply` needs next: on any thread, as long as no token comes meanwhile."""
        if len(self._forbidden) != vocab:
            self._forbidden = torch.from_numpy(~self._allowed(vocab))

    def apply(self, logits: Tensor) -> None:
        self.prepare(len(logits))
        logits.masked_fill_(self._forbidden.to(logits.device), float("-inf"))

    def consume(self, token_id: int) -> None:
        self._forbidden = self._forbidden[:0]
        if token_id not in self._ends:
            self._matcher.consume_token(token_id)

    def _allowed(self, vocab: int) -> NDArray[np.bool_]:
        """[V] whether each token may come. Where no token is left, by a limit of the automaton, the answer ends."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        mask = np.unpackbits(bits, bitorder="little", count=vocab).view(np.bool_)
        mask[self._pieces :] = False
        mask[self._end_ids] = False
        lost = self._matcher.is_error() or not mask.any()
        mask[self._end_ids] = lost or (self._matcher.is_accepting() and not self._late)
        return mask if mask.any() else ~mask


class GrammarCompiler:
    """Grammars over one vocabulary. The vocabulary's tree is built at first use (a fraction of a second), then kept."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._vocabulary: LLTokenizer | None = None

    def constraint(self, grammar: Grammar, ends: Iterable[int], late: bool = False) -> GrammarConstraint:
        """Raises EngineError for a grammar that does not compile."""
        self._vocabulary = self._vocabulary or LLTokenizer(TokenizerWrapper(_Pieces(self._tokenizer)))
        matcher = LLMatcher(self._vocabulary, compiled(grammar), limits=LIMITS)
        if matcher.is_error():
            raise EngineError("the grammar does not compile over this vocabulary")
        return GrammarConstraint(matcher, ends, self._tokenizer.size, late)

    def spellings(self, words: Iterable[str]) -> list[tuple[int, ...]]:
        return spellings(words, self._tokenizer.encode)


class _Pieces:
    """A tokenizer as llguidance reads one. Its end is an id beyond all pieces: ends are ours (`GrammarConstraint`)."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._encode = tokenizer.encode
        self.bos_token_id = tokenizer.bos_id
        self.tokens = [*(tokenizer.token_bytes(index) for index in range(tokenizer.size)), b""]
        self.special_token_ids = [index for index, piece in enumerate(self.tokens) if not piece]
        self.eos_token_id = tokenizer.size

    def __call__(self, text: str) -> list[int]:
        """Tokens that spell just this text, by which llguidance writes what a grammar forces. Sentencepiece puts a
        space before a text's first token; after a newline it does not."""
        lead = self._encode("\n")
        ids = self._encode("\n" + text)
        if ids[: len(lead)] == lead and self._spelt(ids[len(lead) :]) == text.encode():
            return ids[len(lead) :]
        return self._encode(text)

    def _spelt(self, ids: Sequence[int]) -> bytes:
        return b"".join(self.tokens[index] for index in ids)


def constraints_of(
    params: SamplingParams, ends: frozenset[int], grammars: GrammarCompiler
) -> tuple[TokenConstraint, ...]:
    """The constraints of the parameters; empty as a rule."""
    made: list[TokenConstraint] = []
    if params.logit_bias:
        made.append(LogitBias(params.logit_bias))
    if params.grammar is not None:
        made.append(grammars.constraint(params.grammar, ends, late=params.ignore_eos))
    if params.min_tokens:
        made.append(MinTokens(params.min_tokens, ends))
    if params.bad_words and (spelt := grammars.spellings(params.bad_words)):
        made.append(BadWords(spelt))
    # The answer to a grammar repeats itself: the keys in a list of objects.
    if params.no_repeat_ngram_size and params.grammar is None:
        made.append(NoRepeatNgram(params.no_repeat_ngram_size))
    return tuple(made)


Constrained = tuple[int, Sequence[TokenConstraint]]  # a row, and its constraints in their order


def constrained(logits: Tensor, rows: Iterable[Constrained]) -> Tensor:
    """[R, V] logits with the constraints of these rows applied; the same tensor where there are none.

    A constraint that would leave no token of a row gives way to the earlier ones.
    """
    held = [(row, constraints) for row, constraints in rows if constraints]
    if not held:
        return logits
    changed = logits.clone()
    for row, constraints in held:
        for constraint in constraints:
            constraint.apply(changed[row])
    for row, constraints in _without_token(changed, held):
        changed[row] = logits[row]
        for constraint in constraints:
            _apply_or_leave(constraint, changed[row])
    return changed


def _without_token(logits: Tensor, held: Iterable[Constrained]) -> list[Constrained]:
    """The rows whose tokens are all forbidden: one read of the device for all, none if no constraint forbids."""
    banning = [(row, constraints) for row, constraints in held if any(one.bans for one in constraints)]
    if not banning:
        return []
    left: list[bool] = (logits[[row for row, _ in banning]].amax(dim=-1) > float("-inf")).tolist()
    return [one for one, any_left in zip(banning, left, strict=True) if not any_left]


def _apply_or_leave(constraint: TokenConstraint, logits: Tensor) -> None:
    """Change one row, unless that would leave no token."""
    before = logits.clone()
    constraint.apply(logits)
    if not bool((logits > float("-inf")).any()):
        logits.copy_(before)
