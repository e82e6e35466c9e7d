"""The HTTP server under the application: uvicorn, with a drain on SIGTERM that fails no request behind a proxy."""

import asyncio
import gc
import signal
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.gateway.app import create_app, leave, terminate
from service.gateway.connections.listener import stop_listening
from service.gateway.connections.protocol import BoundedProtocol, bounded
from service.gateway.state import GatewayState
from service.settings import Settings

BACKLOG = 2048
CLOSING_S = 1.0  # of a drain's time, in which the last errors are sent


class GatewayServer(uvicorn.Server):
    """Leaves in good order. SIGTERM: not ready at once, so that balancers send no more, but everything that still comes
    is taken for `delay_s`; then the listener closes and running answers get `grace_s`, those too whose requests come
    on connections that were accepted before. SIGINT, or a second signal, skips the delay.

    No connection is closed on which a proxy may be sending a request: of those that begin while the listener closes
    (`connections/listener.py`) none is reset, and one without a request stays for `delay_s` from its last answer.
    An answer that begins after the signal has `connection: close`.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, grace_s: float, delay_s: float) -> None:
        super().__init__(config)
        self._app, self._grace_s, self._delay_s = app, grace_s, delay_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._patient = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  as uvicorn's own
        gateway: GatewayState | None = getattr(self._app.state, "gateway", None)
        patient = sig == signal.SIGTERM and self._delay_s > 0 and self.started
        if gateway is None or self._loop is None or not patient or gateway.terminating:
            self._close(sig)
            return
        terminate(self._app)
        self._loop.call_soon_threadsafe(self._loop.call_later, self._delay_s, self._end_delay, sig)

    def _end_delay(self, sig: int) -> None:
        self._patient = not self.should_exit  # else a second signal came
        self._close(sig)

    def _close(self, sig: int) -> None:
        if hasattr(self._app.state, "gateway"):  # not before the application has started
            terminate(self._app)
        super().handle_exit(sig, None)
        self._captured_signals.clear()  # else uvicorn, once drained, sends itself the signal: a drain is no failure

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Running requests get most of the drain's time; the rest is for sending the errors that end them."""
        if hasattr(self._app.state, "gateway"):
            most = max(self._grace_s - CLOSING_S, self._grace_s / 2)
            asyncio.get_running_loop().call_later(most, leave, self._app)
        if self._patient:
            await stop_listening([one for server in self.servers for one in server.sockets])
            for connection in self.server_state.connections:
                assert isinstance(connection, BoundedProtocol)
                connection.outlast(self._delay_s)
        await super().shutdown(sockets)


def run(settings: Settings) -> int:
    """Serve until a signal has drained it: 0; 3 when it could not start, as uvicorn's command."""
    return serve(make(settings))


def serve(server: GatewayServer) -> int:
    """The same with a server that was made."""
    quiet_collector()
    server.run()
    return 0 if server.started else 3


def quiet_collector() -> None:
    """A full collection looks at everything that a thousand open streams hold and stops them all for a tenth of a
    second and more, for next to nothing: counting references frees almost all of it. The objects of now stay, so the
    collector never looks at them again; it looks at young ones as before, at the rest fifty times more seldom.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 50)


def make(settings: Settings) -> GatewayServer:
    """A server that is ready to run."""
    ours = settings.gateway
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=ours.host,
        port=ours.port,
        http=bounded(ours),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=max(1, round(ours.drain_grace_s)),
    )
    return GatewayServer(config, app, ours.drain_grace_s, ours.shutdown_delay_s)
