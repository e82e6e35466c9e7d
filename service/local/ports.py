"""The check that the port is free, before anything is started, and its error."""

import errno
import socket

from service.settings import SettingsError


def choose(host: str, port: int) -> int:
    """The port to use: the given one if it is free, a free one for 0. Raises SettingsError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        raise SettingsError(f"gateway.host: {host} is no address of this machine") from None
    with socket.socket(family, kind, protocol) as probe:
        # As servers do: a port whose last connections are only dying away counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise SettingsError(_complaint(error, host, port)) from None
        return int(probe.getsockname()[1])


def _complaint(error: OSError, host: str, port: int) -> str:
    reasons = {
        errno.EADDRINUSE: f"port {port} on {host} is taken by another program; "
        f"choose another one (--port {port + 1 if port < 65535 else 0}, or --port 0 for any free one)",
        errno.EACCES: f"port {port} needs more rights than this user has; choose one above 1023",
        errno.EADDRNOTAVAIL: f"gateway.host: {host} is no address of this machine",
    }
    return reasons.get(error.errno or 0, f"cannot listen on {host} port {port}: {error.strerror}")
