"""Speech for tests: synthesised by espeak-ng, a program of Debian's package of that name, where it is there."""

import shutil
import subprocess
from pathlib import Path

import pytest

WHISPER = Path(".cache/models/whisper-base")
FOX = "The quick brown fox jumps over the lazy dog."


def say(text: str, voice: str = "en") -> bytes:
    """A WAV file. Skips the test where nothing can speak."""
    program = shutil.which("espeak-ng")
    if program is None:
        pytest.skip("no espeak-ng to speak with; .ci/programs names its package")
    return subprocess.run([program, "-v", voice, "--stdout", text], capture_output=True, check=True).stdout


def whisper_folder(root: Path) -> Path:
    """Skips the test where the recogniser was not fetched."""
    pytest.importorskip("ctranslate2", reason="pandagpt[speech] is not installed")
    if not (root / WHISPER / "speech.json").is_file():
        pytest.skip(f"no {WHISPER}; `pandagpt fetch whisper-base` makes it")
    return root / WHISPER
