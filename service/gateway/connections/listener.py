"""A listening socket that closes without losing a connection.

The kernel resets the connections that wait in a listener's accept queue when it closes, and a client may have sent its
request on one of them: for it the connection was made. A proxy may not send a POST again that it has sent. So first no
new connection is begun (the kernel drops the SYN of each; a client repeats it and is refused once the listener is
closed, which every proxy takes as a reason to go to the next server), then those that wait are accepted.
"""

import asyncio
import ctypes
import socket
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

SO_ATTACH_FILTER = 26  # Linux, asm-generic/socket.h; Python has no name for it
HANDSHAKE_S = 0.1  # handshakes that had begun end within a network's round trip
LONGEST_S = 2.0
_UNACKED = 24  # offset in tcp_info (linux/tcp.h); of a listener: the connections that wait to be accepted
# Classic BPF over the TCP header: drop a packet with SYN and without ACK, take every other.
_NO_SYN = (
    (0x30, 0, 0, 13),  # ldb [13]: the flags
    (0x54, 0, 0, 0x12),  # and #(SYN | ACK)
    (0x15, 0, 1, 0x02),  # jeq #SYN, next, over one
    (0x06, 0, 0, 0),  # ret 0: drop
    (0x06, 0, 0, 0xFFFFFFFF),  # ret all: take
)


async def stop_listening(sockets: Sequence[socket.socket]) -> None:
    """Return once no connection waits on the listeners, and none can come: then they may close. The loop accepts them
    meanwhile. Where the kernel has no such filter, connections of the last moment may still be lost."""
    for one in sockets:
        with suppress(OSError):
            _refuse_new(one)
    await asyncio.sleep(HANDSHAKE_S)
    until = time.monotonic() + LONGEST_S
    while any(_waiting(one) for one in sockets) and time.monotonic() < until:
        await asyncio.sleep(0)  # each turn of the loop accepts more; new ones no longer come


def _refuse_new(listener: socket.socket) -> None:
    if sys.platform != "linux":
        return
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in _NO_SYN)
    held = ctypes.create_string_buffer(program, len(program))  # lives until the kernel has copied it
    described = struct.pack("HP", len(_NO_SYN), ctypes.addressof(held))
    listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)


def _waiting(listener: socket.socket) -> int:
    """Connections that nobody has accepted yet; 0 where the kernel does not count them."""
    if sys.platform != "linux":
        return 0
    try:
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNACKED + 4)
    except OSError:
        return 0
    return int(struct.unpack_from("I", info, _UNACKED)[0])
