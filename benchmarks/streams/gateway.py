"""The gateway as it is, with a note of how old each token was when its bytes left, and of the collector's pauses.

    PANDAGPT_… python -m benchmarks.streams.gateway OUT

OUT.ages gets pairs of 64-bit integers (when, age) and OUT.pauses (when, length), all in nanoseconds.
"""

import asyncio
import gc
import re
import sys
import time
from array import array
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import logs, settings
from service.gateway import server

TOKEN = re.compile(rb'"content":" (\d+)"')


class Noting:
    """An ASGI application around the real one. The server's loop writes once all that is ready has run, so a token's
    age is taken in the loop's next round: bytes have left by then.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.ages = array("q")
        self._leaving: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def noted(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body":
                if not self._leaving:
                    asyncio.get_running_loop().call_soon(self._note)
                self._leaving.append(message.get("body", b""))

        await self._app(scope, receive, noted)

    def _note(self) -> None:
        now = time.monotonic_ns()
        for body in self._leaving:
            for made in TOKEN.findall(body):
                self.ages.extend((now, now - int(made)))
        self._leaving.clear()


class Pauses:
    """Pauses by the garbage collector."""

    def __init__(self) -> None:
        self.lengths, self._began = array("q"), 0
        gc.callbacks.append(self._called)

    def _called(self, phase: str, _info: dict[str, int]) -> None:
        now = time.monotonic_ns()
        if phase == "start":
            self._began = now
        else:
            self.lengths.extend((now, now - self._began))


def main(out: Path) -> int:
    chosen = settings.load({})
    logs.configure(chosen.log.level, chosen.log.format, "gateway")
    made, pauses = server.make(chosen), Pauses()
    noting = Noting(made.config.app)  # type: ignore[arg-type]  # an application, not a name of one
    made.config.app = noting
    status = server.serve(made)
    for name, values in (("ages", noting.ages), ("pauses", pauses.lengths)):
        out.with_suffix(f".{name}").write_bytes(values.tobytes())
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
