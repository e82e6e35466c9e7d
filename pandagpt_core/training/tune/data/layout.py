"""Conversations as token ids and targets, each template in the way that its model was trained or is served.

alpaca as ImageBind-LLM's trainer has it: prompt and answer tokenised as one text, the end of the text learned, and of
the answer all but the unknown token, whose id that trainer ignores. MiniGPT-v2 as its own trainer did. vicuna-v0 as
PandaGPT's trainer laid it out (`training.conversations`, held against the original). The others, with rows or one
vector, as the very prompts of service, one for each question: the text from the prompt to the end of the turn is
learned. A template's `lead` stands before the last answer only, as it is served.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pandagpt_core.checkpoints import ImageBindLLMFolder, MiniGPTv2Folder, PandaGPTFolder, ProjectedFolder
from pandagpt_core.encoders.eva_vit import EvaSizes
from pandagpt_core.encoders.grid.sizes import GridSizes
from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.prompts import TEMPLATES, Span, Template, control_id, token_ids
from pandagpt_core.training.batch import IGNORED
from pandagpt_core.training.conversations import ChatTurn, TokenizedExample, tokenize_conversation
from pandagpt_core.types import Conversation, MediaUse, Modality, Turn

TurnLayout = Callable[
    [Sequence[ChatTurn], bool], TokenizedExample
]  # turns, and whether there are media; ValueError if it cannot
LabelledIds = tuple[list[int | None], bool]  # ids, and whether they are learned
_ANY_MEDIUM = (MediaUse(Modality.IMAGE, "0" * 64, 0),)  # a prompt has one slot for all media


Trained = ProjectedFolder | ImageBindLLMFolder
Prompted = PandaGPTFolder | ImageBindLLMFolder | MiniGPTv2Folder


def layout_of(folder: Trained, tokenizer: Tokenizer, most: int) -> TurnLayout:
    """The function that lays the folder's conversations out, cut to `most` tokens after the medium."""
    if isinstance(folder, ImageBindLLMFolder):  # its media stand in no place of the prompt
        layout = _LAYOUTS[folder.template](folder, tokenizer, most)
        return lambda chat, _media: layout(chat, False)
    if isinstance(folder, MiniGPTv2Folder):
        return _of_rows(folder, tokenizer, most)
    return _LAYOUTS[folder.template](folder, tokenizer, most)


def rows_per_medium(folder: Trained) -> int:
    """Rows that a medium has in a prompt; 0 where all media of a conversation have one together."""
    if not isinstance(folder, MiniGPTv2Folder):
        return 0
    return _ROWS[folder.encoder.kind](folder.encoder.sizes)


def _of_rows(folder: MiniGPTv2Folder, tokenizer: Tokenizer, most: int) -> TurnLayout:
    """MiniGPT-v2's: as its trainer had it with its own template, else as it is served; None at each row."""
    rows = rows_per_medium(folder)
    if folder.template == "minigpt-v2":
        return lambda chat, media: tokenize_minigpt(chat, tokenizer, rows, most, media=media)
    return widened(_served(folder, tokenizer, most), rows)


def tokenize_minigpt(
    turns: Sequence[ChatTurn], tokenizer: Tokenizer, rows: int, most: int, *, media: bool = True
) -> TokenizedExample:
    """A conversation about one picture as MiniGPT-v2's trainer laid it out (Chen et al. 2023, released code).

    `<s>[INST] <Img>` ROWS `</Img> q  [/INST]` a `</s>` `<s>[INST] q  [/INST]` a `</s>` ...: one BOS where service has
    two, and two spaces before `[/INST]`, since its data sets end each question in one. Each piece is tokenised by
    itself. Answers with their end are learned, all else is not. None stands at each of the picture's `rows`; the part
    after the first question is cut to `most` tokens.
    """
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


def widened(layout: TurnLayout, rows: int) -> TurnLayout:
    """The same with `rows` places for a medium in place of one."""

    def tokenize(chat: Sequence[ChatTurn], media: bool) -> TokenizedExample:
        one = layout(chat, media)
        if not media:
            return one
        at = one.ids.index(None)
        return TokenizedExample(
            (*one.ids[:at], *[None] * rows, *one.ids[at + 1 :]),
            (*one.targets[:at], *[IGNORED] * rows, *one.targets[at + 1 :]),
        )

    return tokenize


def _original(folder: Prompted, tokenizer: Tokenizer, most: int) -> TurnLayout:
    named = _bos(folder)
    bos_id = tokenizer.bos_id if named is None else named
    if bos_id is None:
        raise CheckpointError("the template needs a token that begins a text, which the tokenizer does not have")
    return lambda chat, media: tokenize_conversation(chat, tokenizer, bos_id, most, media=media)


def _served(folder: Prompted, tokenizer: Tokenizer, most: int) -> TurnLayout:
    template = TEMPLATES[folder.template]
    end, bos_id = control_id(tokenizer, template.original_stop_pieces[0]), _bos(folder)
    lead = _lead_length(template, tokenizer, bos_id)

    def prompt(turns: Sequence[Turn], media: bool) -> list[int | None]:
        return token_ids(template, tokenizer, Conversation(tuple(turns), _ANY_MEDIUM if media else ()), bos_id)

    def tokenize(chat: Sequence[ChatTurn], media: bool) -> TokenizedExample:
        turns = [Turn("assistant" if one.who == "gpt" else "user", one.value.strip()) for one in chat]
        ids: list[int | None] = []
        targets: list[int] = []
        for index in range(0, len(turns), 2):
            asked = prompt(turns[: index + 1], media)
            if asked[: len(ids)] != ids:
                raise ValueError(f"the tokenizer joins the answer of turn {index - 1} with what stands around it")
            targets += [IGNORED] * (len(asked) - len(ids))
            answer = [*tokenizer.encode(turns[index + 1].text), end]
            if index + 2 < len(turns):
                asked, targets = asked[: len(asked) - lead], targets[: len(targets) - lead]
            ids, targets = [*asked, *answer], [*targets, *answer]
        kept = most + (ids.index(None) + 1 if media else 0)
        return TokenizedExample(tuple(ids[:kept]), tuple(targets[:kept]))

    return tokenize


def _lead_length(template: Template, tokenizer: Tokenizer, bos_id: int | None) -> int:
    """Tokens of the template's `lead`."""
    asked = Conversation((Turn("user", "x"),))
    without = token_ids(dataclasses.replace(template, lead=()), tokenizer, asked, bos_id)
    return len(token_ids(template, tokenizer, asked, bos_id)) - len(without)


def _alpaca(folder: Prompted, tokenizer: Tokenizer, most: int) -> TurnLayout:
    template, ends = TEMPLATES[folder.template], sorted(tokenizer.eos_ids)[:1]
    bos_id = _bos(folder)

    def written(turns: Sequence[Turn], answer: str = "") -> list[int | None]:
        ended = dataclasses.replace(template, cue=(*template.cue, Span(answer)))
        return token_ids(ended, tokenizer, Conversation(tuple(turns)), bos_id)

    def tokenize(chat: Sequence[ChatTurn], _media: bool) -> TokenizedExample:
        turns = [Turn("assistant" if one.who == "gpt" else "user", one.value) for one in chat]
        ids: list[int | None] = []
        targets: list[int] = []
        for index in range(0, len(turns), 2):
            asked, whole = written(turns[: index + 1]), written(turns[: index + 1], turns[index + 1].text)
            if asked[: len(ids)] != ids or whole[: len(asked)] != asked:
                raise ValueError(f"the tokenizer joins the answer of turn {index + 1} with what stands before it")
            answer = [token or 0 for token in whole[len(asked) :]]
            targets += [IGNORED] * (len(asked) - len(ids)) + [token or IGNORED for token in answer]
            ids = whole
        return TokenizedExample(tuple([*ids, *ends][:most]), tuple([*targets, *ends][:most]))

    return tokenize


def _bos(folder: Prompted) -> int | None:
    """The beginning that a folder names; MiniGPT-v2's name none."""
    return None if isinstance(folder, MiniGPTv2Folder) or folder.bos is None else folder.bos.id


# Rows of a picture, by the kind of encoder.
_ROWS: Mapping[str, Callable[[Mapping[str, Any]], int]] = MappingProxyType(
    {
        "eva-vit": lambda sizes: EvaSizes.from_config(sizes).rows,
        "grid": lambda sizes: GridSizes.from_config(sizes).rows,
    }
)
_LAYOUTS: Mapping[str, Callable[[Prompted, Tokenizer, int], TurnLayout]] = MappingProxyType(
    {
        "vicuna-v0": _original,
        "alpaca": _alpaca,
        **dict.fromkeys(("chatml", "chatml-rows", "qwen2.5", "qwen3", "llama3"), _served),
    }
)
