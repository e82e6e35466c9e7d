"""A part of systems whose encoder gives one vector of a shared space for each medium: PandaGPT and ImageBind-LLM."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pandagpt_core.encoders.base import Encoder, encode_items
from pandagpt_core.llm.language_model import LanguageModel
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.systems.checks import check_modality
from pandagpt_core.systems.prompting import Prompting
from pandagpt_core.systems.visual_cache import FolderCache
from pandagpt_core.types import Modality, ModelInfo, SamplingParams


@dataclass(frozen=True, kw_only=True)
class OneVectorSystem:
    """Its rows are [B, 1, E]; its answers are plain text. `cache`: image features that draw other media to pictures."""

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
        """Recipe arrays in, [B, 1, E] float32 out. Raises UnsupportedModality."""
        check_modality(self.info, modality)
        return encode_items(self.encoder, modality, arrays, str(self.llm.device)).float()[:, None]

    def unit(self, modality: Modality, rows: Tensor) -> Tensor:  # noqa: ARG002 - the protocol's
        """Scaled towers and means over clips have other norms than 1; the direction is what can be compared."""
        return torch.nn.functional.normalize(rows[0].float(), dim=-1)

    def stops(self, params: SamplingParams) -> SamplingParams:
        return self.prompting.stops(params)

    def parse(self, text: str) -> None:
        """An answer is plain text."""
