"""MiniGPT-v2's own training layout (Chen et al. 2023, released code): a conversation about one picture as ids, targets.

`<s>[INST] <Img>` ROWS `</Img> q  [/INST]` a `</s>` `<s>[INST] q  [/INST]` a `</s>` ...: one BOS where service has two,
and two spaces before `[/INST]`, since its data sets end each question in one. Each piece is tokenised by itself.
Answers with their end are learned, all else is not.
"""

from collections.abc import Iterator, Sequence

from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.training.batch import IGNORED
from pandagpt_core.training.conversations import ChatTurn, TokenizedExample

LabelledIds = tuple[list[int | None], bool]  # ids, and whether they are learned


def tokenize_minigpt(
    turns: Sequence[ChatTurn], tokenizer: Tokenizer, rows: int, most: int, *, media: bool = True
) -> TokenizedExample:
    """The sequence, None at each of the picture's `rows`; the part after the first question is cut to `most` tokens."""
    bos, eos = _control(tokenizer, "<s>"), _control(tokenizer, "</s>")
    (first, _), *rest = _pieces(turns, tokenizer, bos, eos, rows if media else 0)
    ids: list[int | None] = []
    targets: list[int] = []
    for piece, learned in rest:
        ids += piece
        targets += [token if learned and token is not None else IGNORED for token in piece]
    return TokenizedExample((*first, *ids[:most]), (*[IGNORED] * len(first), *targets[:most]))


def _pieces(turns: Sequence[ChatTurn], tokenizer: Tokenizer, bos: int, eos: int, rows: int) -> Iterator[LabelledIds]:
    for index, turn in enumerate(turns):
        if turn.who == "gpt":
            yield [*tokenizer.encode(turn.value), eos], True
        elif index == 0 and rows:
            before, after = tokenizer.encode("[INST] <Img>"), tokenizer.encode(f"</Img> {turn.value}  [/INST]")
            yield [bos, *before, *[None] * rows, *after], False
        else:
            yield [bos, *tokenizer.encode(f"[INST] {turn.value}{'  ' if rows else ' '}[/INST]")], False


def _control(tokenizer: Tokenizer, piece: str) -> int:
    found = tokenizer.token_id(piece)
    if found is None:
        raise CheckpointError(f"MiniGPT-v2 needs the token {piece!r}, which the tokenizer does not have")
    return found
