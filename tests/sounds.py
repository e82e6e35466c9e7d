"""A sound to write down, and what the fake recogniser writes of it."""

import io
import wave

import numpy as np


def sound(seconds: float = 70.0, silent: bool = False) -> tuple[str, bytes]:
    """A WAV file of a tone. Its first window lasts 30 s."""
    tone = 8000 * np.sin(np.arange(round(seconds * 8000)) / 3) * (not silent)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(tone.astype("<i2").tobytes())
    return "sound.wav", file.getvalue()


WHOLE = "transcribe en 0 after 0. transcribe en 3000 after 2. transcribe en 6000 after 4."
