"""How a connection ends whose client still sends: the answer first, then a short while of taking and forgetting.

A socket closed with unread bytes is reset, and a reset takes away the answer that the client has not read yet. One left
open for the rest of a refused body is held for as long as its client likes.
"""

import asyncio
from collections.abc import Callable
from typing import Any

LINGER_S = 1.0


class LingeringTransport:
    """A transport whose `close` ends our side at once and the other's after `LINGER_S`, where that one still sends."""

    def __init__(self, transport: asyncio.Transport, still_sends: Callable[[], bool]) -> None:
        self._transport, self._still_sends = transport, still_sends
        self.write = transport.write  # for every token of every stream
        self.parting: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self.parting is not None or self._transport.is_closing()

    def close(self) -> None:
        if self.is_closing():
            return
        if not self._still_sends() or not self._transport.can_write_eof():
            self._transport.close()
            return
        self.parting = asyncio.get_running_loop().call_later(LINGER_S, self._transport.close)
        self._transport.resume_reading()
        self._transport.write_eof()

    def lost(self) -> None:
        """The connection is gone. What is held is let go of: a ring of references waits for the collector."""
        if self.parting is not None:
            self.parting.cancel()
        self._still_sends = bool
