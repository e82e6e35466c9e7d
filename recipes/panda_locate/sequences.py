"""Questions about one picture as one sequence: the picture's rows once, behind them each question by itself.

A question sees the rows and its own words, at the positions that it would have alone. Equal to a sequence for each
question, and the rows are computed once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.prompts import TEMPLATES, control_id, token_ids
from pandagpt_core.training.batch import IGNORED, PlainAttention
from pandagpt_core.types import Conversation, MediaUse, Modality, Turn
from recipes.panda_locate.questions import LocateQuestion

TEMPLATE: Final = "chatml-rows"
_A_PICTURE = (MediaUse(Modality.IMAGE, "0" * 64, 0),)


@dataclass(frozen=True, slots=True)
class Packed:
    """B pictures of R rows [B, R, K] and T tokens: `slot` is where rows go, `part` 0 before the first question."""

    rows: Tensor
    tokens: Tensor
    targets: Tensor
    positions: Tensor
    part: Tensor  # [B, T], -1 at padding
    slot: Tensor  # [B, T] booleans


class Tree(PlainAttention):
    """Causal attention in which a question sees what is before the first question, and itself."""

    def __init__(self, part: Tensor) -> None:
        seen = (part[:, :, None] == part[:, None, :]) | (part[:, None, :] == 0)
        seen &= torch.ones(part.shape[1], part.shape[1], dtype=torch.bool).tril()
        seen |= torch.eye(part.shape[1], dtype=torch.bool)  # padding sees itself, so that nothing divides by zero
        self.mask = torch.zeros(seen.shape).masked_fill(~seen, float("-inf"))[:, None, None]


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
        return Packed(rows, tokens.clamp_min(0), padded(1, IGNORED), padded(2, 0), padded(3, -1), tokens < 0)

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
