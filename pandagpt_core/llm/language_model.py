"""The interface of a language model that is ready to serve, whichever library computes it."""

from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor

from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.quant.linear import Precision

BackendName = Literal["torch", "openvino"]


class Predicts(Protocol):
    """A language model, served or not, that gives the logits of whole sequences without a cache."""

    @property
    def config(self) -> LlamaConfig: ...

    def embed(self, ids: Tensor | Sequence[int]) -> Tensor:
        """[...] token ids to [..., D] float32 rows of the embedding table."""
        ...

    def __call__(self, embeds: Tensor, /) -> Tensor:
        """[B, T, D] to [B, T, V]."""
        ...


class ChunkedForward(Protocol):
    """One sequence, read some positions at a time; its keys and values are kept between the calls."""

    def __call__(self, embeds: Tensor, /) -> Tensor:
        """The next positions [N, D] to their logits [N, V] float32."""
        ...


class LanguageModel(Predicts, Protocol):
    """`torch_backend.TorchLlama` or `openvino.compiled.OpenVinoLlama`. A runner computes its steps."""

    @property
    def precision(self) -> Precision:
        """Of its matrix products."""
        ...

    @property
    def backend(self) -> BackendName: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def cache_dtype(self) -> torch.dtype:
        """Of its keys and values."""
        ...

    def chunked(self, length: int) -> ChunkedForward:
        """A forward pass over a sequence of at most `length` positions, with a cache of its own."""
        ...
