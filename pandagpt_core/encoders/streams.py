"""The streams of a device in which media are encoded: beside the language model's steps and beside each other.

A CUDA device does what one stream holds in order. In the stream that the language model uses, an encoder's batch would
stand between two of its steps; with a stream for each modality both go on at once, and a long video holds no picture
back, as on the host (a thread a modality encodes beside the worker's loop).
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from pandagpt_core.types import Modality

Beside = Callable[[Modality], AbstractContextManager[Any]]
"""Enter it to encode a modality. Results are whole once they are on the host, which has to happen before it is left."""


def beside(device: str) -> Beside:
    """The way for a device. Everything that is read while encoding must be on its way there already."""
    return Streams(device) if device.startswith("cuda") else here


def here(_: Modality) -> AbstractContextManager[None]:
    """On a CPU: the calling thread does the work."""
    return nullcontext()


class Streams:
    """A stream a modality, made when it is first needed.

    None of them waits for the language model's: the weights were complete before the first was made (`settle`), arrays
    come from the host, and embeddings go back to it. Nothing made in one is used in another, which torch's allocator
    would have to know.
    """

    def __init__(
        self,
        device: str,
        make: Callable[[str], Any] = torch.cuda.Stream,
        enter: Callable[[Any], AbstractContextManager[Any]] = torch.cuda.stream,
        settle: Callable[[str], object] = torch.cuda.synchronize,
    ) -> None:
        self._device, self._make, self._enter = device, make, enter
        self._streams: dict[Modality, Any] = {}
        self._lock = threading.Lock()
        settle(device)

    def __call__(self, modality: Modality) -> AbstractContextManager[Any]:
        with self._lock:
            if modality not in self._streams:
                self._streams[modality] = self._make(self._device)
            return self._enter(self._streams[modality])
