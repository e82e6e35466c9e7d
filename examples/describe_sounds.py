"""What is heard in sound files: python examples/describe_sounds.py bark.wav trumpet.flac

A long sound is split into windows. Each line of the answer has the file, the second where the window begins, and what
the model hears in it. The model names sounds; it does not write down speech.
"""

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import soundfile
from common import ADDRESS


def windows(path: Path, seconds: float) -> Iterator[tuple[float, bytes]]:
    """(second of its start, WAV bytes) of each window."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
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
    answer.raise_for_status()
    return str(answer.json()["choices"][0]["message"]["content"]).strip()


def main() -> int:
    parser = argparse.ArgumentParser(description="What is heard in sound files.")
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a window (10 s)")
    parser.add_argument("--question", default="What do you hear?")
    arguments = parser.parse_args()
    with httpx.Client(base_url=ADDRESS, timeout=120) as http:
        for path in arguments.files:
            for start, sound in windows(path, arguments.seconds):
                print(f"{path}\t{start:.1f}\t{hear(http, sound, arguments.question)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
