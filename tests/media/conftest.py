"""Builders of small media, sound ones and lying ones, all synthesised in memory."""

import io
import struct
import zlib
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from PIL import Image

Array = npt.NDArray[np.generic]


class Make:
    """One method a kind of medium; each answers bytes."""

    def picture(self, width: int = 32, height: int = 24, mode: str = "RGB", kind: str = "PNG", **save: object) -> bytes:
        ramp = np.linspace(0, 255, width * height).reshape(height, width).astype(np.uint8)
        return self.saved(Image.fromarray(ramp).convert(mode), kind, **save)

    def saved(self, picture: Image.Image, kind: str = "PNG", **save: object) -> bytes:
        out = io.BytesIO()
        picture.save(out, kind, **save)
        return out.getvalue()

    def grey16(self, values: Array, kind: str = "PNG") -> bytes:
        return self.saved(Image.fromarray(values.astype(np.uint16)), kind)

    def png_claiming(self, width: int, height: int) -> bytes:
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b"")]
        chunks = [
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in parts
        ]
        return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)

    def npy(self, array: Array) -> bytes:
        out = io.BytesIO()
        np.save(out, array, allow_pickle=array.dtype.hasobject)
        return out.getvalue()

    def npy_claiming(self, shape: tuple[int, ...], dtype: str = "<f8", body: bytes = b"\0" * 64) -> bytes:
        header = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
        header += b" " * (-(len(header) + 11) % 64) + b"\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body

    def sound(self, wave: Array, rate: int = 16000, kind: str = "WAV", subtype: str | None = None) -> bytes:
        out = io.BytesIO()
        soundfile.write(out, wave, rate, format=kind, subtype=subtype)
        return out.getvalue()

    def tone(self, seconds: float = 1.0, rate: int = 16000, hertz: float = 440.0) -> Array:
        return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)

    def wav_claiming(
        self, data_bytes: int, rate: int = 16000, channels: int = 1, body: bytes = b"\1\0" * 8000
    ) -> bytes:
        block = channels * 2
        form = struct.pack("<HHIIHH", 1, channels, rate, min(rate * block, 2**32 - 1), block & 0xFFFF, 16)
        head = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", data_bytes)
        return b"RIFF" + struct.pack("<I", min(data_bytes + 36, 2**32 - 1)) + head + body

    def m4a(self, wave: Array, rate: int = 16000, codec: str = "aac", kind: str = "mp4") -> bytes:
        out = io.BytesIO()
        with av.open(out, "w", format=kind) as container:
            stream = container.add_stream(codec, rate=rate, layout="mono")
            frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                container.mux(packet)
        return out.getvalue()

    def video(self, frames: Sequence[Array], rate: int = 10, codec: str = "mpeg4", kind: str = "mp4") -> bytes:
        out = io.BytesIO()
        with av.open(out, "w", format=kind) as container:
            stream = container.add_stream(codec, rate=rate)
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.bit_rate = 4_000_000
            stream.thread_count = 1
            for frame in frames:
                for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                    container.mux(packet)
            for packet in stream.encode(None):
                container.mux(packet)
        return out.getvalue()

    def grey_frames(self, count: int, height: int = 48, width: int = 64) -> list[Array]:
        """Frame i is the flat grey 8 i, so that a decoded frame tells its index."""
        return [np.full((height, width, 3), min(8 * index, 255), np.uint8) for index in range(count)]


@pytest.fixture(scope="session")
def make() -> Make:
    return Make()
