"""Threat: decoder errors leaked heap addresses (vLLM CVE-2026-22778).

Measures: a decoder's words never leave the child; a caller reads fixed sentences without `0x` and without a path.
"""

import re
from typing import NoReturn

import httpx
import numpy as np
import pytest

from pandagpt_core import media
from service.gateway.decoding import child
from service.gateway.decoding.protocol import DecodeJob
from tests.media.conftest import Make
from tests.security.neighbours import data_url, neighbour

LEAKY = re.compile(r"0x[0-9a-f]|/[a-z]+/|\\|Errno|object at|Traceback|\.py|libav|site-packages", re.IGNORECASE)
KINDS = ("image_url", "audio_url", "video_url", "depth_url", "thermal_url", "imu_url")


def hostile(make: Make) -> dict[str, bytes]:
    sound, film = make.sound(make.tone(0.1)), make.video(make.grey_frames(3))
    return {
        "text": b"no medium at all",
        "an empty PNG": b"\x89PNG\r\n\x1a\n",
        "half a JPEG": make.picture(300, 300, kind="JPEG")[:500],
        "half a TIFF": make.picture(30, 30, kind="TIFF")[:100],
        "half a sound": sound[:30],
        "half a film": film[: len(film) // 2],
        "a film with its head torn": film[:40] + bytes(100) + film[140:],
        "an npy of pickles": make.npy(np.array([{}], dtype=object)),
        "an npy that lies": make.npy_claiming((10**9, 6)),
        "brackets": b"[" * 100_000,
    }


def test_no_error_body_holds_an_address_or_a_path(steady_http: httpx.Client, make: Make) -> None:
    refused = 0
    with neighbour(steady_http.base_url):
        for kind in KINDS:
            for data in hostile(make).values():
                part = {"type": kind, kind: {"url": data_url(data), "depth": {"unit": "disparity"}}}
                body = {"messages": [{"role": "user", "content": [part]}], "max_tokens": 1}
                answer = steady_http.post("/v1/chat/completions", json=body)
                assert answer.status_code in (200, 400)
                refused += answer.status_code == 400
                assert not LEAKY.search(answer.text), answer.text
                assert len(answer.content) < 4096
    assert refused > 50


@pytest.mark.parametrize(
    "error",
    [
        ValueError("cannot identify image file <_io.BytesIO object at 0x7f12f8c0>"),
        OSError(2, "No such file or directory", "/etc/passwd"),
        RuntimeError("heap 0xdeadbeef"),
        KeyError("/home/someone/model"),
        RecursionError("0x55"),
        UnicodeDecodeError("utf-8", b"\xff" * 50, 0, 1, "0x7f"),
    ],
)
def test_whatever_a_decoder_raises_is_told_in_fixed_words(error: Exception) -> None:
    def broken(*_: object) -> NoReturn:
        raise error

    job = DecodeJob(recipe="imagebind-image-v1", params={}, size=1, cpu_s=5.0)
    answer, body = child.decode(job, b"x", media.Limits(), 1 << 30, broken)
    assert (answer.code, answer.message, body) == ("invalid_media", "cannot be decoded", b"")
