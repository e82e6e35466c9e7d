"""A decoding child's own loop: a job read whole, an answer in fixed words, no timer left, no print in the protocol."""

import io
import signal
import subprocess
import sys

import numpy as np
import pytest

from pandagpt_core import media
from pandagpt_core.media import samples
from service.gateway.decoding import child
from service.gateway.decoding.protocol import LENGTH, Decoded, DecodeJob, Refused, from_child, pack
from tests.conftest import ROOT

CPU_S = 3600.0  # the timer counts this process's whole time


def job(size: int, recipe: str = "imagebind-image-v1") -> DecodeJob:
    return DecodeJob(recipe=recipe, params={}, size=size, cpu_s=CPU_S)


def test_an_array_has_the_bytes_that_its_header_names() -> None:
    picture = samples.picture("PNG")
    answer, body = child.decode(job(len(picture)), picture, media.Limits(), 1 << 30)
    assert isinstance(answer, Decoded)
    found = np.frombuffer(body, answer.dtype).reshape(answer.shape)
    np.testing.assert_array_equal(found, media.load("imagebind-image-v1", picture, {}, media.Limits()))
    assert answer.size == len(body)


@pytest.mark.parametrize("data", [b"", b"no picture", samples.picture("PNG")[:40]])
def test_bad_bytes_are_a_refusal_without_a_body(data: bytes) -> None:
    answer, body = child.decode(job(len(data)), data, media.Limits(), 1 << 30)
    assert isinstance(answer, Refused)
    assert (answer.code, body) == ("invalid_media", b"")


def test_no_timer_runs_on_after_a_job() -> None:
    for data in (samples.picture("PNG"), b"no picture"):
        child.decode(job(len(data)), data, media.Limits(), 1 << 30)
        assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_a_job_is_read_whole_or_the_child_ends() -> None:
    packed = pack(job(3))
    source = io.BytesIO(packed + b"abc")
    assert child._receive(source) == job(3)
    assert child._read(source, 3) == b"abc"
    assert child._receive(source) is None, "the gateway has closed the pipe"
    with pytest.raises(SystemExit):
        child._receive(io.BytesIO(packed[:-1]))


PRINTING = """
import os
from service.gateway.decoding import child
from service.gateway.decoding.protocol import Refused
source, sink = child._take_pipes()
print("a library's word", flush=True)
os.write(2, b"and another")
assert os.read(0, 10) == b""
child.send(sink, Refused(code="c", message=source.read().decode()))
"""


def test_a_library_that_prints_reaches_neither_protocol_nor_output() -> None:
    done = subprocess.run([sys.executable, "-c", PRINTING], cwd=ROOT, input=b"sent", capture_output=True, check=True)
    assert from_child.decode(done.stdout[LENGTH.size :]) == Refused(code="c", message="sent")
    assert done.stderr == b""
