"""Children of a decode pool that run a few lines of a test in place of the decoder."""

import sys
import textwrap
from dataclasses import replace

from service.gateway.decoding.pool import PoolOptions


def scripted(body: str, **options: float) -> PoolOptions:
    """A pool whose children greet properly and then run `body` with the pipes `source` and `sink`."""
    head = """
        import os, sys, time, struct
        from service.gateway.decoding.protocol import *
        from service.gateway.decoding.child import _receive, _read, send, _take_pipes
        source, sink = _take_pipes()
        send(sink, DecoderReady(enforced=["none"]))
        job = _receive(source)
        while job is not None:
            data = _read(source, job.size)
    """
    loop = textwrap.indent(textwrap.dedent(body), " " * 4) + "\n    job = _receive(source)\n"
    return replace(
        PoolOptions([sys.executable, "-c", textwrap.dedent(head) + loop], processes=1),
        **options,  # type: ignore[arg-type]
    )


SLOW_OR_LIVE = """
if data == b"slow":
    time.sleep(60)
send(sink, Decoded(dtype="<f4", shape=[1], size=4), b"\\0\\0\\x80?")
"""
