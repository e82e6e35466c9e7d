"""A folder's perception in a prompt: each medium's soft token, and behind it what was read of it, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pandagpt_core.checkpoints import PandaGPTFolder, PerceptionSpec
from pandagpt_core.errors import CheckpointError
from pandagpt_core.fusion import Projection
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.perception.asked import stated
from pandagpt_core.perception.evidence import EvidenceReader
from pandagpt_core.perception.languages import Language, language_of
from pandagpt_core.perception.perceive import Perceiver
from pandagpt_core.perception.reading import Reading, words
from pandagpt_core.perception.table import read_name_table
from pandagpt_core.systems.checks import blamed
from pandagpt_core.systems.prompting import EmbedTokens
from pandagpt_core.types import Conversation, Fields

_FAINT = 0.25  # of the largest weight: a medium that counts for less has its soft token alone


@dataclass(frozen=True, slots=True)
class Perceiving:
    """spec: of the folder's config. evidence: for names that a question asks for; None where the folder uses none."""

    spec: PerceptionSpec
    perceiver: Perceiver
    evidence: EvidenceReader | None = None

    def readings(
        self, conversation: Conversation, rows: Sequence[Tensor], uses: Sequence[int]
    ) -> Mapping[int, Reading]:
        """Readings of the media that count, by index, in the order of the conversation."""
        counting = [index for index in uses if conversation.media[index].weight]
        read = {index: self.perceiver.read(conversation.media[index].modality, rows[index]) for index in counting}
        if self.evidence is None:
            return read
        asked = self.evidence.asked(_question(conversation))
        return {
            index: replace(reading, asked=self.evidence.found(conversation.media[index].modality, rows[index], asked))
            for index, reading in read.items()
        }

    def slot(
        self,
        conversation: Conversation,
        rows: Sequence[Tensor],
        readings: Mapping[int, Reading],
        projection: Projection,
        embed: EmbedTokens,
        tokenizer: Tokenizer,
    ) -> Tensor:
        """[n, D] float32: of each medium its projected vector, scaled by its weight, and the embeddings of its line.

        Raises InvalidRequest, or ModelFault, for numbers that are not finite.
        """
        language = _language(conversation)
        weights = [conversation.media[index].weight for index in readings]
        parts: list[Tensor] = []
        for (index, reading), weight in zip(readings.items(), weights, strict=True):
            worded = self.spec.words and weight >= _FAINT * max(weights)
            if self.spec.soft or not worded:
                parts.append(weight * projection(rows[index][:1]))
            if worded:
                parts.append(embed(tokenizer.encode(words(stated(reading), language) + "\n")).float())
        slot = torch.cat(parts) if parts else projection.bias[None] * 0
        if not torch.isfinite(slot).all():
            raise blamed(projection(torch.cat([rows[index][:1] for index in readings])), "projection")
        return slot

    def fields(self, conversation: Conversation, readings: Mapping[int, Reading]) -> Fields | None:
        """The fields of an answer about its media: the likeliest name of each, and how sure it is."""
        if not readings:
            return None
        return {"media": [_facts(conversation, index, reading) for index, reading in readings.items()]}


def load_perceiving(path: Path, folder: PandaGPTFolder, projection: Projection) -> Perceiving | None:
    """The folder's perception. Raises CheckpointError where the names are not those of the recall."""
    if folder.perception is None:
        return None
    table, recall = read_name_table(path), projection.recall
    if recall is None or len(recall.directions) != len(table.concepts):
        named = 0 if recall is None else len(recall.directions)
        raise CheckpointError(
            f"perception.json names {len(table.concepts)} concepts, the recall has {named} directions"
        )
    perceiver = Perceiver(table, recall)
    if not folder.perception.asked:
        return Perceiving(folder.perception, perceiver)
    if table.asked is None:
        raise CheckpointError("perception asks for evidence of asked names, and perception.json has none")
    return Perceiving(folder.perception, perceiver, EvidenceReader(perceiver, table.asked))


def _question(conversation: Conversation) -> str:
    """The last user turn: the last turn may be an answer that is to be continued, or a tool's result."""
    return next((turn.text for turn in reversed(conversation.turns) if turn.role == "user"), "")


def _language(conversation: Conversation) -> Language:
    return language_of(_question(conversation))


def _facts(conversation: Conversation, index: int, reading: Reading) -> dict[str, Any]:
    name = reading.void or (reading.names[0].name if reading.names else "")
    fields = {
        "modality": str(conversation.media[index].modality),
        "name": name,
        "sure": bool(reading.void or reading.sure),
    }
    asked = {"asked": {name: round(share, 3) for name, share in reading.asked}} if reading.asked else {}
    return {**fields, "confidence": round(reading.confidence, 3), **asked}
