"""Threat: tiny and odd images killed the engine (vLLM CVE-2026-22773).

Measure: each is an answer or a 400 at the door; neighbours survive.
"""

import io
import struct
import zlib

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.media.conftest import Make
from tests.security.neighbours import ask, neighbour, picture


def claiming(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(64))), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def saved(image: Image.Image, kind: str, **save: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **save)
    return out.getvalue()


def animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (20, 20), (40 * number, 0, 0)) for number in range(4)]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:])


def odd(make: Make) -> dict[str, bytes]:
    modes = {f"{mode} {kind}": saved(Image.new(mode, (30, 20)), kind) for mode, kind in MODES}
    grey16 = make.grey16(np.arange(600).reshape(20, 30) * 100)
    exif = Image.Exif()
    exif[0x0112] = 6
    return modes | {
        "1x1": make.picture(1, 1),
        "1x2": make.picture(1, 2),
        "0x5": claiming(0, 5),
        "5x0": claiming(5, 0),
        "0x0": claiming(0, 0),
        "1x65535": make.picture(1, 65535),
        "65535x1": make.picture(65535, 1),
        "1x200": make.picture(1, 200),
        "200x1": make.picture(200, 1),
        "1x201": make.picture(1, 201),
        "16 bits of grey": grey16,
        "a depth of bits that is none": claiming(5, 5, depth=3),
        "a colour type that is none": claiming(5, 5, colour=5),
        "animated GIF": animated("GIF"),
        "animated PNG": animated("PNG"),
        "animated WebP": animated("WEBP"),
        "many-paged TIFF": animated("TIFF"),
        "turned by EXIF": saved(Image.new("RGB", (30, 20)), "JPEG", exif=exif),
        "transparent palette": saved(Image.new("P", (8, 8)), "PNG", transparency=0),
        "a truncated JPEG": make.picture(200, 200, kind="JPEG")[:-300],
        "a truncated PNG": make.picture(200, 200)[:-100],
        "a JPEG's first two bytes": b"\xff\xd8",
        "a profile of noise": saved(Image.new("RGB", (9, 9)), "PNG", icc_profile=b"\xff" * 5000),
        "a comment of a megabyte": saved(Image.new("RGB", (9, 9)), "GIF", comment=b"x" * 1_000_000),
    }


MODES = [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("P", "PNG"), ("1", "PNG"), ("L", "JPEG"), ("LA", "PNG"), ("RGBA", "PNG")]
MODES += [("I;16", "PNG"), ("I", "TIFF"), ("F", "TIFF"), ("YCbCr", "JPEG"), ("LAB", "TIFF"), ("RGBA", "WEBP")]
MUST_ANSWER = ("1x1", "CMYK JPEG", "P PNG", "16 bits of grey", "animated GIF", "1x200", "turned by EXIF")
MUST_REFUSE = ("0x5", "5x0", "0x0", "1x65535", "65535x1", "a JPEG's first two bytes")


@pytest.mark.parametrize("field", ["image", "thermal"])
def test_odd_images_are_answered_or_refused_and_neighbours_survive(
    steady_http: httpx.Client, make: Make, field: str
) -> None:
    outcomes = {}
    with neighbour(steady_http.base_url):
        for what, data in odd(make).items():
            answer = steady_http.post(
                "/v1/generate", data={"prompt": "What?", "max_tokens": "2"}, files={field: ("x.png", data)}
            )
            outcomes[what] = answer.status_code
            assert answer.status_code in (200, 400), (what, answer.text)
            if answer.status_code == 400:
                assert answer.json()["error"]["code"] == "invalid_media"
                assert answer.json()["error"]["param"] == field
    assert {outcomes[what] for what in MUST_REFUSE} == {400}
    if field == "image":
        assert {outcomes[what] for what in MUST_ANSWER} == {200}
    assert ask(steady_http, picture(1)).status_code == 200
