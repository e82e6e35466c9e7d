"""Each modality in a stream of its own on CUDA, and the host's copy before it is left."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from pandagpt_core.encoders.streams import Streams, beside
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.runtime import Runtime
from pandagpt_core.types import Conversation, Modality
from tests.fakes import FAKE_INFO


class Device:
    """Notes what is done with it, in order."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.made = 0

    def make(self, device: str) -> str:
        self.made += 1
        self.did.append(f"make {self.made} on {device}")
        return str(self.made)

    @contextmanager
    def enter(self, stream: str) -> Iterator[None]:
        self.did.append(f"enter {stream}")
        yield
        self.did.append(f"leave {stream}")

    def settle(self, device: str) -> None:
        self.did.append(f"settle {device}")

    def streams(self) -> Streams:
        return Streams("cuda:1", self.make, self.enter, self.settle)


def test_a_modality_keeps_its_stream_and_shares_it_with_none() -> None:
    device = Device()
    streams = device.streams()
    for modality in (Modality.IMAGE, Modality.VIDEO, Modality.IMAGE):
        with streams(modality):
            pass
    assert device.did == [
        "settle cuda:1",
        *("make 1 on cuda:1", "enter 1", "leave 1"),
        *("make 2 on cuda:1", "enter 2", "leave 2"),
        *("enter 1", "leave 1"),
    ]


class OnDevice:
    """A result that is whole only once it has been copied to the host."""

    def __init__(self, device: Device, rows: torch.Tensor) -> None:
        self._device, self._rows = device, rows

    def cpu(self) -> torch.Tensor:
        self._device.did.append("copy")
        return self._rows


class FakeSystem:
    """The part of a model system that encodes."""

    info = FAKE_INFO

    def __init__(self, device: Device) -> None:
        self._device = device

    def encode(self, modality: Modality, arrays: list[np.ndarray]) -> Any:
        self._device.did.append(f"{modality} {len(arrays)}")
        return OnDevice(self._device, torch.ones(len(arrays), 1, 4))

    def prepare(self, conversation: Conversation, rows: list[torch.Tensor], *_: object) -> LLMInputs:
        return LLMInputs(torch.zeros(1, 4), (1,))


class NoEngine:
    context = 128


def test_a_runtime_copies_to_the_host_before_it_leaves_the_stream() -> None:
    device = Device()
    runtime = Runtime(FakeSystem(device), NoEngine(), device.streams())  # type: ignore[arg-type]  # what encoding needs
    device.did.clear()
    rows = runtime.encode(Modality.VIDEO, [np.zeros((30, 1)), np.zeros((30, 1))])
    assert [row.shape for row in rows] == [(1, 4), (1, 4)]
    assert device.did == ["make 1 on cuda:1", "enter 1", "video 1", "copy", "video 1", "copy", "leave 1"]


def test_on_a_cpu_nothing_stands_between() -> None:
    with beside("cpu")(Modality.IMAGE) as nothing:
        assert nothing is None


@pytest.mark.gpu
def test_what_two_streams_compute_at_once_is_what_one_computes() -> None:
    weights = torch.randn(2048, 2048, device="cuda")
    streams, rows = beside("cuda"), torch.randn(2048, 2048)

    def computed() -> torch.Tensor:
        x = rows.to("cuda")
        for _ in range(20):
            x = torch.nn.functional.normalize(x @ weights, dim=-1)
        return x.cpu()

    alone = computed()
    busy = torch.randn(4096, 4096, device="cuda")
    for modality in (Modality.IMAGE, Modality.AUDIO):
        for _ in range(50):
            busy = torch.nn.functional.normalize(busy @ busy, dim=-1)  # the language model's, in the default stream
        with streams(modality):
            assert torch.cuda.current_stream() != torch.cuda.default_stream()
            assert torch.equal(computed(), alone)
    assert torch.isfinite(busy).all()
