"""A decoding child: reads jobs from standard input, writes arrays to standard output, until either closes.

Run as `python -I -m service.gateway.decoding.child <memory bytes> <limits as JSON> [libraries]`. It leaves the
gateway's namespaces, imports and warms up the decoders, locks itself down (`sandbox`), reports which layers hold, and
only then reads a caller's bytes. Refusals are fixed sentences: a library's message may hold addresses.
"""

import importlib
import os
import pkgutil
import sys
from collections.abc import Callable
from typing import BinaryIO

import msgspec
import numpy as np

import pandagpt_core.media as media
from pandagpt_core.errors import PandaGPTError
from pandagpt_core.media.params import Params
from service.gateway.decoding import sandbox
from service.gateway.decoding.protocol import (
    LENGTH,
    LIBRARIES,
    Decoded,
    DecodeJob,
    DecoderReady,
    Header,
    Refused,
    pack,
    to_child,
)
from service.gateway.decoding.sandbox.libc import malloc_trim


def main(arguments: list[str]) -> int:
    memory_bytes, limits = int(arguments[0]), msgspec.json.decode(arguments[1], type=media.Limits)
    absent: dict[str, str] = {}
    entered = sandbox.enter(absent)  # before any library starts a thread
    source, sink = _take_pipes()
    for module in pkgutil.iter_modules(media.__path__):
        importlib.import_module(f"{media.__name__}.{module.name}")
    warmup = importlib.import_module("service.gateway.decoding.warmup")  # not above: it imports the decoders
    warmup.run(limits, libraries=LIBRARIES in arguments[2:])
    malloc_trim()  # warming up took more than what stays
    send(sink, DecoderReady(enforced=sandbox.lock_down(memory_bytes, entered, absent), absent=absent))
    while (job := _receive(source)) is not None:
        answer, body = decode(job, _read(source, job.size), limits, memory_bytes)
        send(sink, answer, body)
    return 0


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The two pipes under private descriptors, so that no library's print can reach the protocol."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    return source, sink


Read = Callable[[str, bytes, Params, media.Limits], tuple[np.ndarray, media.Notes]]


def decode(
    job: DecodeJob, data: bytes, limits: media.Limits, memory_bytes: int, read: Read = media.read
) -> tuple[Decoded | Refused, bytes]:
    sandbox.arm(job.cpu_s)
    try:
        array, notes = read(job.recipe, data, job.params, limits)
        shape = list(array.shape)
        return Decoded(dtype=array.dtype.str, shape=shape, size=array.nbytes, notes=notes), array.tobytes()
    except PandaGPTError as error:
        return Refused(code=error.code, message=error.message, param=error.param), b""
    except MemoryError:
        return Refused(code="invalid_media", message=f"needs more memory than the limit of {memory_bytes} bytes"), b""
    except Exception:  # noqa: BLE001  # whatever a decoder raises on hostile bytes: one refusal, in fixed words
        return Refused(code="invalid_media", message="cannot be decoded"), b""
    finally:
        sandbox.arm(0)


def send(sink: BinaryIO, header: Header, body: bytes = b"") -> None:
    sink.write(pack(header))
    sink.write(body)
    sink.flush()


def _receive(source: BinaryIO) -> DecodeJob | None:
    length = source.read(LENGTH.size)
    return to_child.decode(_read(source, LENGTH.unpack(length)[0])) if len(length) == LENGTH.size else None


def _read(source: BinaryIO, size: int) -> bytes:
    data = source.read(size)
    if len(data) < size:
        raise SystemExit(0)  # the gateway is gone
    return data


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
