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
from service.local import ports, samples, supervisor

QUESTION = "What is this?"
START_S = 300.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--model", type=Path, help="model folder")
    parser.add_argument("--samples", type=Path, default=Path("samples"), help="folder of media (samples)")


def run(arguments: argparse.Namespace) -> int:
    """Ask and print; 1 when the service does not start or an answer fails."""
    media = samples.found(arguments.samples)
    if not media:
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
            return _ask(f"http://127.0.0.1:{port}", media, house)
        finally:
            house.terminate()
            house.wait()


def _ask(url: str, media: list[tuple[str, Path]], house: subprocess.Popen[bytes]) -> int:
    limit = time.monotonic() + START_S
    while not supervisor.is_ready(url):
        if house.poll() is not None or time.monotonic() > limit:
            print("the service does not start; its reason stands above", file=sys.stderr)
            return 1
        time.sleep(0.2)
    first = {kind: (kind, path) for kind, path in reversed(media)}
    both = [first["image"], first["audio"]] if {"image", "audio"} <= set(first) else []
    failed = 0
    with httpx.Client(base_url=url, timeout=None, trust_env=False) as client:
        for group in [*([sample] for sample in media), *([both] if both else [])]:
            failed += not _asked(Talk(client, {"max_tokens": 48, "temperature": 0}), group)
    return 1 if failed else 0


def _asked(talk: Talk, group: list[tuple[str, Path]]) -> bool:
    print(f"\n{' + '.join(f'{kind} {path.name}' for kind, path in group)}\n  {QUESTION}\n  ", end="", flush=True)
    started = time.monotonic()
    try:
        talk.pending = [medium(kind, str(path)) for kind, path in group]
        for text in talk.ask(QUESTION):
            print(text, end="", flush=True)
    except TalkError as error:
        print(f"error: {error}", flush=True)
        return False
    print(f"  ({time.monotonic() - started:.1f} s)", flush=True)
    return True
