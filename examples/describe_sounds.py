"""The sounds in sound files: python examples/describe_sounds.py bark.wav trumpet.flac

A long sound is split into windows. Each line of the answer has the file, the second where the window begins, and what
the model hears in it. The model names sounds; it does not write down speech. A file that cannot be read gets its reason
on the error output, and the others go on.
"""

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import httpx
import numpy as np
import soundfile
from common import ADDRESS, absent, key_headers

REFUSED = (av.FFmpegError, OSError, ValueError, httpx.HTTPError)


def sound_of(path: Path) -> tuple[np.ndarray, int]:
    """([n, channels] float32 samples, rate in Hz) of any file with sound: voice notes of phones, videos too."""
    with av.open(str(path)) as file:
        if not file.streams.audio:
            raise ValueError("the file has no sound")
        stream = file.streams.audio[0]
        resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
        decoded = [*file.decode(stream), None]  # None brings out what the resampler still holds
        blocks = [part.to_ndarray() for frame in decoded for part in resampler.resample(frame)]
    return np.concatenate(blocks, axis=1).T, stream.rate


def windows(path: Path, seconds: float) -> Iterator[tuple[float, bytes]]:
    """(second of its start, WAV bytes) of each window."""
    samples, rate = sound_of(path)
    length = max(1, int(seconds * rate))
    for start in range(0, len(samples), length):
        yield start / rate, wav(samples[start : start + length], rate)


def wav(samples: np.ndarray, rate: int) -> bytes:
    """16-bit WAV of [n, channels] samples."""
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format="WAV", subtype="PCM_16")
    return out.getvalue()


def hear(http: httpx.Client, sound: bytes, question: str) -> str:
    """The model's answer about one sound. Raises HTTPStatusError where the service refuses it."""
    answer = http.post("/v1/generate", data={"prompt": question}, files={"audio": ("window.wav", sound)})
    if answer.is_client_error or answer.is_server_error:
        raise httpx.HTTPStatusError(answer.json()["error"]["message"], request=answer.request, response=answer)
    return str(answer.json()["choices"][0]["message"]["content"]).strip()


def main() -> int:
    parser = argparse.ArgumentParser(description="The sounds in sound files.")
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a window (10 s)")
    parser.add_argument("--question", default="What do you hear?")
    arguments = parser.parse_args()
    failed = 0
    with httpx.Client(base_url=ADDRESS, headers=key_headers(), timeout=120) as http:
        for path in arguments.files:
            try:
                for start, sound in windows(path, arguments.seconds):
                    print(f"{path}\t{start:.1f}\t{hear(http, sound, arguments.question)}", flush=True)
            except httpx.ConnectError:
                sys.exit(absent())
            except REFUSED as error:
                failed += 1
                print(f"{path}\t\t{error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
