"""What every model system of the family offers to the runtime."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.tokenizer import Tokenizer
from pandagpt_core.types import Conversation, Modality, ModelInfo, SamplingParams


class System(Protocol):
    """Encoders, a fusion into the prompt and a language model, joined as one published system joins them."""

    info: ModelInfo
    llm: Llama
    tokenizer: Tokenizer

    def encode(self, modality: Modality, arrays: Sequence[np.ndarray]) -> torch.Tensor:
        """Encode a batch of equal modality: recipe arrays in, [B, E] float32 embeddings of the shared space out.

        Arrays may differ in clip count; clips are flattened into the batch and averaged per item after.
        """
        ...

    def unit(self, modality: Modality, embedding: torch.Tensor) -> torch.Tensor:
        """The same embeddings as unit vectors, [B, E]: what /v1/embeddings answers."""
        ...

    def prepare(self, conversation: Conversation, embeddings: Sequence[torch.Tensor]) -> LLMInputs:
        """Write the prompt: one [E] embedding for each of `conversation.media`, in order."""
        ...

    def stops(self, params: SamplingParams) -> SamplingParams:
        """The caller's parameters with the template's own stop strings and tokens added."""
        ...
