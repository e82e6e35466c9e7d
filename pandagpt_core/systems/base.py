"""What every model system of the family offers to the runtime."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from pandagpt_core.llm.autotune import Runner
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.precision import Wanted
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.types import Conversation, Modality, ModelInfo, SamplingParams


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Where and how a system runs.

    precision: of the language model's matrix products; "fp32" keeps the towers exact too, the others let those round
        whose embeddings stay what they are (`encoders.precision`).
    original_stop: end answers by the published system's rule, faults included, instead of the template's.
    verify: hold every file against the SHA-256 in config.json before reading it.
    runner: what computes the language model's steps, torch or OpenVINO (`llm.serving`).
    table: a folder with the merged language model (`systems.merged`), of which the system then holds the embedding
        table alone, because an engine outside of this process computes the rest; no precision applies.
    """

    device: str = "cpu"
    precision: Wanted = "fp32"
    original_stop: bool = False
    verify: bool = True
    runner: Runner = "auto"
    table: Path | None = None


class System(Protocol):
    """Encoders, a fusion into the prompt and a language model, joined as one published system joins them."""

    @property
    def info(self) -> ModelInfo: ...

    @property
    def llm(self) -> Llama:
        """Served: adapters merged, in its precision, on its device. With `LoadOptions.table` it only embeds."""
        ...

    @property
    def tokenizer(self) -> Tokenizer: ...

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
