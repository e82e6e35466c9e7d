"""A worker in the middle of a long step, and streams opened by hand while it lasts."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from pandagpt_core.interface import Admitted, SequenceRequest
from pandagpt_core.types import TokenOutput
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, worker_thread

SEQUENCES = 8


class Gated(FakeRuntime):
    """A model in the middle of a long step until `gate` opens; counts its steps and what it admitted."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.stepping = threading.Event(), threading.Event()
        self.steps = 0
        self.admitted: list[str] = []

    def admit(self, request: SequenceRequest) -> Admitted:
        self.admitted.append(request.conversation.turns[-1].text)
        return super().admit(request)

    def step(self) -> list[TokenOutput]:
        self.stepping.set()
        assert self.gate.wait(300), "nobody opened the gate"
        self.steps += 1
        return super().step()


@contextmanager
def gated(valkey: Valkey, runtime: Gated, sequences: int = SEQUENCES) -> Iterator[None]:
    """A worker of the runtime, whose gate opens at every end of the block: the worker could not end before."""
    beats = {"lost_after_s": 300.0, "heartbeat_s": 0.2}
    with worker_thread(valkey.settings, runtime, max_sequences=sequences, prefetch=0, **beats):
        try:
            yield
        finally:
            runtime.gate.set()


def opened(url: str, text: str, tokens: int = 100, *, key: str = "", source: str = "") -> socket.socket:
    """A stream with that message, of a caller with that key and address."""
    address = urlsplit(url)
    sender = socket.create_connection((address.hostname, address.port), 60, (source, 0))
    body = json.dumps({"messages": [{"role": "user", "content": text}], "stream": True, "max_tokens": tokens}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    head += f"x-api-key: {key}\r\n".encode() if key else b""
    sender.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
    return sender


def eventually(check: object, within: float, what: str) -> None:
    until = time.monotonic() + within
    while not check():  # type: ignore[operator]
        assert time.monotonic() < until, what
        time.sleep(0.01)
