"""Shared by the systems: a template with its tokenizer, and a prompt whose slots are filled with the rows of media."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pandagpt_core.checkpoints import ImageBindLLMFolder, PandaGPTFolder
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.tokenizers.base import Tokenizer, load_tokenizer
from pandagpt_core.prompts import TEMPLATES, MediaSlot, Template, control_id, prompt_ids
from pandagpt_core.types import Conversation, SamplingParams, Turn

EmbedTokens = Callable[[Sequence[int]], Tensor]  # T token ids to [T, D] float32 rows: `Llama.embed`


@dataclass(frozen=True, kw_only=True)
class Prompting:
    """A system's form of a conversation, and the ends of its answers.

    bos_id: the token a prompt begins with where the template has one; None leaves it to the tokenizer's files.
    original_stop: end answers by the published system's rule instead of the template's.

    Raises CheckpointError where the template cannot be written with the tokenizer.
    """

    tokenizer: Tokenizer
    template: Template
    bos_id: int | None = None
    original_stop: bool = False

    @classmethod
    def of(cls, folder: PandaGPTFolder | ImageBindLLMFolder, llm_files: Path, original_stop: bool) -> "Prompting":
        return cls(
            tokenizer=load_tokenizer(llm_files),
            template=TEMPLATES[folder.template],
            bos_id=None if folder.bos is None else folder.bos.id,
            original_stop=original_stop,
        )

    def __post_init__(self) -> None:
        self.ids(Conversation((Turn("user", "x###\n\nx"),)))
        for piece in (*self.template.stop_pieces, *self.template.original_stop_pieces):
            control_id(self.tokenizer, piece)

    def ids(self, conversation: Conversation) -> list[int | MediaSlot]:
        return prompt_ids(self.template, self.tokenizer, conversation, self.bos_id)

    def stops(self, params: SamplingParams) -> SamplingParams:
        """The caller's parameters with the template's own stop strings and tokens added.

        A template's end of turn is an end of sequence, so `ignore_eos` leaves it out like any other.
        """
        if params.ignore_eos:
            return params
        template = self.template
        stop = () if self.original_stop else template.stop
        pieces = template.original_stop_pieces if self.original_stop else template.stop_pieces
        ids = [control_id(self.tokenizer, piece) for piece in pieces]
        return dataclasses.replace(
            params,
            stop=tuple(dict.fromkeys([*params.stop, *stop])),
            stop_token_ids=tuple(dict.fromkeys([*params.stop_token_ids, *ids])),
        )


def fill(prompt: Sequence[int | MediaSlot], embed: EmbedTokens, rows: Callable[[MediaSlot], Tensor]) -> LLMInputs:
    """The prompt as input embeddings: a token's row from `embed`, a slot's [n, D] from `rows`, in order."""
    embeds: list[Tensor] = []
    ids: list[int] = []
    run: list[int] = []
    for element in [*prompt, None]:
        if isinstance(element, int):
            run.append(element)
            continue
        if run:
            embeds.append(embed(run))
            ids += run
            run = []
        if element is not None:
            filled = rows(element)
            embeds.append(filled)
            ids += map(pseudo_id, filled)
    return LLMInputs(torch.cat(embeds), tuple(ids))


def pseudo_id(row: Tensor) -> int:
    """A negative 63-bit id that only an equal row has: the soft token's key in a prefix cache."""
    digest = hashlib.sha256(row.float().cpu().numpy().tobytes()).digest()
    return -1 - (int.from_bytes(digest[:8], "big") >> 1)
