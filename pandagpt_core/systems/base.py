"""The contract between a model system and everything that serves it.

A system is one published model: encoders, a bridge into a language model, a prompt format. To add one:

1. `checkpoints/`: a struct with the system's own fields of config.json, a member of the union `SystemFolder`.
2. `systems/<name>.py`: a class with `load(path, folder, options)` and the members of `System` below.
3. `systems/__init__.py`: its entry in `SYSTEMS`, by the tag of its struct. Nothing else imports the class.

A request passes through a system in three steps, each a pure function of its arguments:

- `encode`: arrays of one modality, batched over many requests, to rows [n, E] for each. PandaGPT has n = 1, or 1 + k
  with a resampler, MiniGPT-v2 256. Rows are cached in the store by the medium's digest, so they depend on nothing else
  of the request. float16 halves the store's memory where n is large.
- `prepare`: a conversation and the rows of its media to `LLMInputs`. Rows enter the prompt at slots
  (`prompts.MediaSlot`): any number of them, of any width, in any turn, in the order of the template. Or they become a
  `layer_bias`, added at every position of each layer (ImageBind-LLM). Both may be used together.
- `parse`: the whole text of an answer to structured fields (MiniGPT-v2: boxes), or None. They reach the caller with
  the end of the answer.

Options of a request (`Conversation.options`) are declared in `info.options`: the gateway validates them against that
announcement without importing the system, and `prepare` reads them by `options.option`.

Shared parts: `checks` (length, modality, rows, options), `prompting` (template, stops, filling slots), `encoder`
(towers of a folder), `adapter` (projection and LoRA).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from pandagpt_core.autotune import Listen, ignore
from pandagpt_core.llm.autotune import RunnerName, served
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.language_model import LanguageModel
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.precision import PrecisionChoice
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.llm.torch_backend import table_only
from pandagpt_core.systems.encoder import TowerOptions
from pandagpt_core.types import NOTHING_FOUND, Conversation, Fields, Found, Modality, ModelInfo, SamplingParams


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Options to load and run a system.

    precision: of the language model's matrix products; "fp32" keeps the towers exact too, the others let those round
        whose embeddings stay what they are (`encoders.precision`).
    original_stop: end answers by the published system's rule, faults included, instead of the template's.
    verify: hold every file against the SHA-256 in config.json before reading it.
    runner: the library for the language model's steps, torch or OpenVINO (`llm.autotune`).
    table: a folder with the merged language model (`systems.merged`), of which the system then holds the embedding
        table alone, because an engine outside of this process computes the rest; no precision applies.
    report: called with each choice by measurement, for the language model and for each tower.
    cache: a folder for the towers' graphs, which the next load uses again.
    """

    device: str = "cpu"
    precision: PrecisionChoice = "fp32"
    original_stop: bool = False
    verify: bool = True
    runner: RunnerName = "auto"
    table: Path | None = None
    report: Listen = ignore
    cache: Path | None = None

    @property
    def towers(self) -> TowerOptions:
        """Options for an encoder's towers."""
        return TowerOptions(self.precision == "fp32", self.report, self.runner, self.cache)


def ready_llm(llm: Llama, options: LoadOptions) -> LanguageModel:
    """The model ready to serve; of a model that is only an embedding table, one that embeds."""
    if options.table is not None:
        return table_only(llm)
    return served(llm, options.precision, options.device, options.runner, options.report)


class System(Protocol):
    """Encoders, a bridge into the prompt and a language model, joined as one published system joins them."""

    @property
    def info(self) -> ModelInfo: ...

    @property
    def llm(self) -> LanguageModel:
        """Served: adapters merged, in its precision, on its device. With `LoadOptions.table` it only embeds."""
        ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    def encode(self, modality: Modality, arrays: Sequence[np.ndarray]) -> torch.Tensor:
        """Encode a batch of equal modality: recipe arrays in, [B, n, E] float32 or float16 rows out.

        Arrays may differ in clip count; clips are flattened into the batch and averaged per item after.
        Raises UnsupportedModality.
        """
        ...

    def unit(self, modality: Modality, rows: torch.Tensor) -> torch.Tensor:
        """[n, E] rows of one medium as the unit vector [E] float32 of /v1/embeddings.

        Called only where `info.embedding_dim` is not 0.
        """
        ...

    def look_up(self, conversation: Conversation, rows: Sequence[torch.Tensor]) -> Iterator[Found | None]:
        """Search a large cache as `prepare` would: None before each piece of the search, and the result last. A piece
        is so short that others may be served between. Raises what `prepare` raises."""
        ...

    def prepare(
        self, conversation: Conversation, rows: Sequence[torch.Tensor], found: Found = NOTHING_FOUND
    ) -> LLMInputs:
        """Write the prompt from the rows [n, E] of each of `conversation.media`, in order.

        found: by `look_up`; the rest is searched for here. Raises ContextLengthExceeded, UnsupportedModality,
        InvalidRequest.
        """
        ...

    def stops(self, params: SamplingParams) -> SamplingParams:
        """The caller's parameters with the template's own stop strings and tokens added."""
        ...

    def parse(self, text: str) -> Fields | None:
        """The structured fields of a whole answer; None for a system whose answers are plain text."""
        ...
