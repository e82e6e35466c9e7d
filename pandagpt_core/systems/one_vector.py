"""A part of systems whose encoder gives one vector of a shared space for each medium: PandaGPT and ImageBind-LLM."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from pandagpt_core.encoders.base import Encoder, PerceivingEncoder, encode_items, perceives
from pandagpt_core.llm.language_model import LanguageModel
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.perception.rows import ROWS
from pandagpt_core.systems.checks import check_embeddings, check_modality, check_rows
from pandagpt_core.systems.prompting import Prompting
from pandagpt_core.systems.visual_cache import FolderCache
from pandagpt_core.types import Conversation, Modality, ModelInfo, SamplingParams


@dataclass(frozen=True, kw_only=True)
class OneVectorSystem:
    """A system whose rows are [B, n, E], the vector first, and whose answers are plain text.

    `cache`: image features that draw other media to pictures.
    """

    info: ModelInfo
    encoder: Encoder
    llm: LanguageModel
    prompting: Prompting
    cache: FolderCache | None = None

    @property
    def tokenizer(self) -> Tokenizer:
        return self.prompting.tokenizer

    @torch.inference_mode()
    def encode(self, modality: Modality, arrays: Sequence[np.ndarray]) -> Tensor:
        """Recipe arrays in, [B, n, E] float32 out, n above 1 where it perceives. Raises UnsupportedModality."""
        check_modality(self.info, modality)
        if perceives(self.encoder):
            return torch.stack(cast(PerceivingEncoder, self.encoder).rows(modality, arrays)).float()
        return encode_items(self.encoder, modality, arrays, str(self.llm.device)).float()[:, None]

    def vectors(self, conversation: Conversation, rows: Sequence[Tensor]) -> Sequence[Tensor]:
        """Each medium's embedding [1, E], without what else is perceived. Raises InvalidRequest, ModelFault."""
        if not perceives(self.encoder):
            check_embeddings(conversation, rows, (1, self.info.embedding_dim))
            return rows
        check_rows(conversation, rows, self.info.embedding_dim, ROWS)
        return [row[:1] for row in rows]

    def unit(self, modality: Modality, rows: Tensor) -> Tensor:  # noqa: ARG002 - the protocol's
        """Scaled towers and means over clips have other norms than 1; the direction is what can be compared."""
        return torch.nn.functional.normalize(rows[0].float(), dim=-1)

    def stops(self, params: SamplingParams) -> SamplingParams:
        return self.prompting.stops(params)

    def parse(self, text: str) -> None:
        """An answer is plain text."""
