"""The inputs of a language model: the one contract between model systems and the engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class LLMInputs:
    """A prompt ready for the language model.

    embeds: [T, D] input embeddings in the model's width.
    ids: T integers, one a position: the token id where the row is that token's embedding, else a negative
        pseudo-id derived from the row's content. Equal ids mean equal rows, which is what a prefix cache needs, and
        the non-negative ones are what a repetition penalty counts.
    penalised: the token ids that a repetition penalty counts as generated before the answer, None for those of `ids`.
    layer_bias: [L, D] added to every layer's attention output at all positions, or None (ImageBind-LLM's adapter).
    fields: facts about the prompt that the caller asked for, put among the answer's fields; None for none.
    """

    embeds: torch.Tensor
    ids: tuple[int, ...]
    layer_bias: torch.Tensor | None = None
    penalised: tuple[int, ...] | None = None
    fields: Mapping[str, Any] | None = None
