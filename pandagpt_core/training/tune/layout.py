"""Conversations as token ids and targets, each template in the way that its model was trained or is served.

MiniGPT-v2 as its own trainer did (`training.minigpt_v2.layout`). vicuna-v0 as PandaGPT's trainer laid it out
(`training.conversations`, held against the original). chatml as the very prompts of service, one for each question:
what follows a prompt up to the end of the turn is learned.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from pandagpt_core.checkpoints import MiniGPTv2Folder, PandaGPTFolder, ProjectedFolder
from pandagpt_core.encoders.eva_vit import EvaSizes
from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.prompts import TEMPLATES, control_id, token_ids
from pandagpt_core.training.batch import IGNORED
from pandagpt_core.training.conversations import ChatTurn, TokenizedExample, tokenize_conversation
from pandagpt_core.training.minigpt_v2.layout import tokenize_minigpt
from pandagpt_core.types import Conversation, MediaUse, Modality, Turn

Layout = Callable[
    [Sequence[ChatTurn], bool], TokenizedExample
]  # turns, and whether there are media; ValueError if it cannot
_ANY_MEDIUM = (MediaUse(Modality.IMAGE, "0" * 64, 0),)  # a prompt has one slot, whatever fills it


def layout_of(folder: ProjectedFolder, tokenizer: Tokenizer, most: int) -> Layout:
    """How to tokenize out the folder's conversations, cut to `most` tokens after the medium."""
    if isinstance(folder, MiniGPTv2Folder):
        rows = EvaSizes.from_config(folder.encoder.sizes).rows
        return lambda said, media: tokenize_minigpt(said, tokenizer, rows, most, media=media)
    return _LAYOUTS[folder.template](folder, tokenizer, most)


def _original(folder: PandaGPTFolder, tokenizer: Tokenizer, most: int) -> Layout:
    bos_id = folder.bos.id if folder.bos is not None else tokenizer.bos_id
    if bos_id is None:
        raise CheckpointError("the template needs a token that begins a text, which the tokenizer does not have")
    return lambda said, media: tokenize_conversation(said, tokenizer, bos_id, most, media=media)


def _served(folder: PandaGPTFolder, tokenizer: Tokenizer, most: int) -> Layout:
    template = TEMPLATES[folder.template]
    end = control_id(tokenizer, template.original_stop_pieces[0])

    def prompt(turns: Sequence[Turn], media: bool) -> list[int | None]:
        return token_ids(template, tokenizer, Conversation(tuple(turns), _ANY_MEDIUM if media else ()))

    def tokenize(said: Sequence[ChatTurn], media: bool) -> TokenizedExample:
        turns = [Turn("assistant" if one.who == "gpt" else "user", one.value.strip()) for one in said]
        ids: list[int | None] = []
        targets: list[int] = []
        for index in range(0, len(turns), 2):
            asked = prompt(turns[: index + 1], media)
            if asked[: len(ids)] != ids:
                raise ValueError(f"the tokenizer joins the answer of turn {index - 1} with what stands around it")
            targets += [IGNORED] * (len(asked) - len(ids))
            answer = [*tokenizer.encode(turns[index + 1].text), end]
            ids, targets = [*asked, *answer], [*targets, *answer]
        kept = most + (ids.index(None) + 1 if media else 0)
        return TokenizedExample(tuple(ids[:kept]), tuple(targets[:kept]))

    return tokenize


_LAYOUTS: Mapping[str, Callable[[PandaGPTFolder, Tokenizer, int], Layout]] = MappingProxyType(
    {"vicuna-v0": _original, "chatml": _served}
)
