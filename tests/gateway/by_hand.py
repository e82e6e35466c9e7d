"""Streams read by hand: a connection that stays open after some events, so that its client can go away."""

import json
import re
import socket
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

IDS = {"include_event_ids": True}
BODY = {"messages": [{"role": "user", "content": "Tell me"}], "seed": 3, "max_tokens": 20, "stream": True}
BODY["stream_options"] = IDS


def eventually(check: Callable[[], bool], within: float = 20.0) -> None:
    until = time.monotonic() + within
    while not check():
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.02)


def request_id(text: str) -> str:
    found = re.search(r"chatcmpl-[0-9a-f]+", text)
    assert found
    return found.group()


def read_some(
    url: str, body: dict[str, object], until: bytes, headers: Mapping[str, str] = MappingProxyType({})
) -> tuple[socket.socket, bytes]:
    """Send a request by hand and read until something came; the connection stays open."""
    address = urlsplit(url)
    sender = socket.create_connection((address.hostname, address.port), timeout=10)
    payload = json.dumps(body).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    sender.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(payload) + payload)
    return sender, read_on(sender, until)


def read_on(sender: socket.socket, until: bytes, data: bytes = b"") -> bytes:
    while until not in data:
        piece = sender.recv(65536)
        assert piece, "the connection ended"
        data += piece
    return data
