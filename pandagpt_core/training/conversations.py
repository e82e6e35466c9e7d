"""PandaGPT's own training layout (Su et al. 2023, released code): a conversation about one medium as ids and targets.

`### Human: <Img>` SOFT `</Img> q\n### Assistant:` a `\n###` `Human: q\n### Assistant:` a `\n###` ...; each piece is
tokenised by itself, answers with the "\n###" that ends them are learned, all else is not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.training.batch import IGNORED


class ChatTurn(msgspec.Struct, frozen=True, rename={"who": "from"}):
    """One entry of a conversation as the instruction data sets write it."""

    who: Literal["human", "gpt"]
    value: str


@dataclass(frozen=True, slots=True)
class TokenizedExample:
    """A sequence of T positions: token ids with None at the soft slot, and targets, `IGNORED` where not learned."""

    ids: tuple[int | None, ...]
    targets: tuple[int, ...]


def tokenize_conversation(
    turns: Sequence[ChatTurn], tokenizer: Tokenizer, bos_id: int, most: int, *, media: bool = True
) -> TokenizedExample:
    """The conversation's sequence; the part after the medium is cut to `most` tokens, as the original cuts it.

    Without media, which the original never trains on, it begins as the served prompt does.
    """
    prefix: list[int | None] = [bos_id, *tokenizer.encode("### Human: <Img>"), None] if media else [bos_id]
    ids: list[int] = []
    targets: list[int] = []
    for piece, learned in _pieces(turns, "</Img> " if media else "### Human: "):
        tokens = tokenizer.encode(piece)
        ids += tokens
        targets += tokens if learned else [IGNORED] * len(tokens)
    return TokenizedExample((*prefix, *ids[:most]), (*[IGNORED] * len(prefix), *targets[:most]))


def _pieces(turns: Sequence[ChatTurn], first: str) -> Iterator[tuple[str, bool]]:
    for index, one in enumerate(turns):
        if one.who == "gpt":
            yield f"{one.value}\n###", True
        else:
            yield f"{'Human: ' if index else first}{one.value}\n### Assistant:", False
