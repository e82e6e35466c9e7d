"""Questions about one picture as one sequence: the picture's rows once, behind them each question by itself.

A question sees the rows and its own words, at the positions that it would have alone. Equal to a sequence for each
question, and the rows are computed once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.prompts import TEMPLATES, control_id, token_ids
from pandagpt_core.training.batch import IGNORED, PlainAttention
from pandagpt_core.types import Conversation, MediaUse, Modality, Turn
from recipes.panda_locate.questions import LocateQuestion

TEMPLATE: Final = "chatml-rows"
_A_PICTURE = (MediaUse(Modality.IMAGE, "0" * 64, 0),)


@dataclass(frozen=True, slots=True)
class Packed:
    """B pictures of R rows [B, R, K] and T tokens: `slot` is where rows go, `part` 0 before the first question, n in
    the n-th.
    """

    rows: Tensor
    tokens: Tensor
    targets: Tensor
    positions: Tensor
    part: Tensor  # [B, T], -1 at padding
    slot: Tensor  # [B, T] booleans
    kinds: tuple[tuple[str, ...], ...]  # of each picture's questions


class Tree:
    """Causal attention in which a question sees what is before the first question, and itself.

    Each question's scores are computed by themselves, over the tokens that it sees. Whole sequences with a mask would
    need many times as many scores.
    """

    def __init__(self, part: Tensor) -> None:
        self.before = int((part[0] == 0).sum())
        self.shared = PlainAttention(torch.ones(len(part), self.before, dtype=torch.bool))
        places = torch.arange(part.numel()).view(part.shape)
        own = [places[row][part[row] == at] for row in range(len(part)) for at in range(1, int(part[row].max()) + 1)]
        self.of = torch.tensor([int(one[0]) // part.shape[1] for one in own])  # the sequence of each question
        self.at = pad_sequence(own, batch_first=True, padding_value=-1)  # [Q, L] places in all sequences
        length = self.at.shape[1]
        seen = torch.ones(length, self.before + length, dtype=torch.bool).tril(self.before)
        self.mask = torch.zeros(seen.shape).masked_fill(~seen, float("-inf"))

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
        first = self.shared(layer, *(x[:, : self.before] for x in (q, k, v)))
        mine = self.at.clamp_min(0)
        keys, values = (torch.cat((x[:, : self.before][self.of], x.flatten(0, 1)[mine]), dim=1) for x in (k, v))
        answers = self._questions(q.flatten(0, 1)[mine], keys, values)  # [Q, L, H, d]
        real = self.at >= 0
        rest = answers.new_zeros(q.shape).flatten(0, 1).index_copy(0, self.at[real], answers[real]).view(q.shape)
        return torch.cat((first.to(rest.dtype), rest[:, self.before :]), dim=1)

    def _questions(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """[Q, L, H, d] queries with [Q, before + L, KV, d] keys and values."""
        count, length, heads, dim = q.shape
        groups = heads // k.shape[2]
        rows = q.view(count, length, -1, groups, dim).permute(0, 2, 3, 1, 4).flatten(2, 3)  # [Q, KV, G L, d]
        scores = rows @ k.permute(0, 2, 3, 1) * dim**-0.5
        scores = scores.unflatten(2, (groups, length)) + self.mask
        weights = scores.softmax(dim=-1).to(v.dtype).flatten(2, 3)
        attended = (weights @ v.transpose(1, 2)).unflatten(2, (groups, length))  # [Q, KV, G, L, d]
        together: Tensor = attended.permute(0, 3, 1, 2, 4).reshape(count, length, heads, dim)
        return together


@dataclass(frozen=True, slots=True)
class Packer:
    """Lays questions out as the served prompt has them; `rows` of a picture."""

    tokenizer: Tokenizer
    rows: int

    def pack(self, pictures: Sequence[tuple[Tensor, Sequence[LocateQuestion]]]) -> Packed:
        """Of each picture its rows [R, K] and its questions."""
        laid = [self._picture(questions) for _, questions in pictures]
        longest = max(len(one[0]) for one in laid)

        def padded(column: int, empty: int) -> Tensor:
            return torch.tensor([[*one[column], *[empty] * (longest - len(one[column]))] for one in laid])

        tokens = padded(0, 0)
        rows = torch.stack([one for one, _ in pictures])
        kinds = tuple(tuple(one.kind for one in questions) for _, questions in pictures)
        laid_out = padded(1, IGNORED), padded(2, 0), padded(3, -1)
        return Packed(rows, tokens.clamp_min(0), *laid_out, tokens < 0, kinds)

    def _picture(self, questions: Sequence[LocateQuestion]) -> tuple[list[int], list[int], list[int], list[int]]:
        """Tokens with -1 at the picture's rows, targets, positions and parts."""
        before: list[int] = []
        tokens, targets, positions, part = [], [], [], []
        for index, question in enumerate(questions, start=1):
            head, asked, answer = self.laid_out(question)
            if not before:
                before = [*head, *[-1] * self.rows]
                tokens, targets = [*before], [IGNORED] * len(before)
                positions, part = list(range(len(before))), [0] * len(before)
            own = [*asked, *answer]
            tokens += own
            targets += [*[IGNORED] * len(asked), *answer]
            positions += range(len(before), len(before) + len(own))
            part += [index] * len(own)
        return tokens, targets, positions, part

    def laid_out(self, question: LocateQuestion) -> tuple[list[int], list[int], list[int]]:
        """Ids before the rows, those of the question behind them, and the answer's with its end."""
        template = TEMPLATES[TEMPLATE]
        ids = token_ids(template, self.tokenizer, Conversation((Turn("user", question.text),), _A_PICTURE))
        at = ids.index(None)
        head, asked = ([token or 0 for token in some] for some in (ids[:at], ids[at + 1 :]))
        end = control_id(self.tokenizer, template.stop_pieces[0])
        return head, asked, [*self.tokenizer.encode(question.answer), end]
