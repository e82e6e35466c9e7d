"""Lingering close, as in nginx: an answer that comes before the request's end reaches its client."""

import asyncio
from collections.abc import Callable
from typing import Any

LINGER_S = 1.0


class LingeringTransport:
    """Lingering close, as in nginx: where the client still sends, `close` ends our side at once and the connection
    after `LINGER_S`.

    A socket that is closed with unread bytes is reset, and the reset discards the answer that the client has not read
    yet. A connection that stays open for the rest of a refused body is held for as long as its client likes.
    """

    def __init__(self, transport: asyncio.Transport, still_sends: Callable[[], bool]) -> None:
        self._transport, self._still_sends = transport, still_sends
        self.write, self.abort = transport.write, transport.abort  # for every token of every stream, for every request
        self.lingering: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self.lingering is not None or self._transport.is_closing()

    def close(self) -> None:
        if self.is_closing():
            return
        if not self._still_sends() or not self._transport.can_write_eof():
            self._transport.close()
            return
        self.lingering = asyncio.get_running_loop().call_later(LINGER_S, self._transport.close)
        self._transport.resume_reading()
        self._transport.write_eof()

    def lost(self) -> None:
        """The connection is gone. Drops what is held: a ring of references would wait for the collector."""
        if self.lingering is not None:
            self.lingering.cancel()
        self._still_sends = bool
