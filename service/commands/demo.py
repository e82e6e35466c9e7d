"""`pandagpt demo`: start everything on a free port, ask about each sample and about two at once, stop."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from service import settings
from service.commands.overrides import overrides
from service.commands.talk import Talk, TalkError, medium
from service.local import ports, supervisor

KINDS = {
    ".jpg": "image", ".jpeg": "image", ".png": "image", ".webp": "image",
    ".wav": "audio", ".flac": "audio", ".ogg": "audio", ".mp3": "audio",
    ".mp4": "video", ".webm": "video", ".csv": "imu",
}  # fmt: skip
NAMED = ("depth", "thermal", "imu")  # a picture or an array whose name says so is that
QUESTION = "What is this?"
START_S = 300.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--model", type=Path, help="model folder")
    parser.add_argument("--samples", type=Path, default=Path("samples"), help="folder of media (samples)")


def run(arguments: argparse.Namespace) -> int:
    """Ask and print; 1 when the service does not start or an answer fails."""
    samples = found(arguments.samples)
    if not samples:
        raise settings.SettingsError(f"--samples: {arguments.samples} holds no media")
    chosen = settings.load(overrides(arguments, model="worker.model"))
    port = ports.choose("127.0.0.1", 0)
    with tempfile.TemporaryDirectory(prefix="pandagpt-") as state:
        given: dict[str, dict[str, object]] = {
            "gateway": {"host": "127.0.0.1", "port": port},
            "worker": {"model": chosen.worker.model},
            "local": {"state": state},
            "log": {"level": "warning", "format": "text"},
        }
        env = os.environ | settings.environment(given)
        house = subprocess.Popen([sys.executable, "-m", "service.cli", "serve"], env=env)
        try:
            return _ask(f"http://127.0.0.1:{port}", samples, house)
        finally:
            house.terminate()
            house.wait()


def found(folder: Path) -> list[tuple[str, Path]]:
    """The folder's media as (modality, path), by name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    return [(kind, path) for path in files if (kind := _kind(path))]


def _kind(path: Path) -> str | None:
    words = path.with_suffix("").name.lower() + " " + path.parent.name.lower()
    named = next((kind for kind in NAMED if kind in words), None)
    known = path.suffix.lower() in KINDS or (named is not None and path.suffix.lower() in (".npy", ".tiff", ".tif"))
    return (named or KINDS[path.suffix.lower()]) if known else None


def _ask(url: str, samples: list[tuple[str, Path]], house: subprocess.Popen[bytes]) -> int:
    limit = time.monotonic() + START_S
    while not supervisor.is_ready(url):
        if house.poll() is not None or time.monotonic() > limit:
            print("the service does not start; its reason stands above", file=sys.stderr)
            return 1
        time.sleep(0.2)
    first = {kind: (kind, path) for kind, path in reversed(samples)}
    both = [first["image"], first["audio"]] if {"image", "audio"} <= set(first) else []
    failed = 0
    with httpx.Client(base_url=url, timeout=None, trust_env=False) as client:
        for group in [*([sample] for sample in samples), *([both] if both else [])]:
            failed += not _asked(Talk(client, {"max_tokens": 48, "temperature": 0}), group)
    return 1 if failed else 0


def _asked(talk: Talk, group: list[tuple[str, Path]]) -> bool:
    print(f"\n{' + '.join(f'{kind} {path.name}' for kind, path in group)}\n  {QUESTION}\n  ", end="", flush=True)
    started = time.monotonic()
    try:
        talk.pending = [medium(kind, f"'{path}'") for kind, path in group]
        for text in talk.ask(QUESTION):
            print(text, end="", flush=True)
    except TalkError as error:
        print(f"error: {error}", flush=True)
        return False
    print(f"  ({time.monotonic() - started:.1f} s)", flush=True)
    return True
