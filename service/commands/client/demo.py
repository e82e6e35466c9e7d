"""`pandagpt demo`: start everything on a free port, ask over HTTP about each sample and about some together, stop.

Then the same with the model that names places, where its folder is there: one picture with its boxes.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from service import settings
from service.commands.client.talk import Talk, TalkError, medium
from service.commands.overrides import overrides
from service.local import ports, samples, supervisor
from service.local.children import dying_with

QUESTION = "What is this?"
START_S = 300.0
# One picture that a model of places gets, and the same picture with the boxes of the answer.
PLACES_MODEL = Path("models/panda-locate")
PICTURE = PLACES_MODEL / "scene.png"
DRAWN = Path(".cache/demo-places.png")
_ASKED = {
    "task": "grounding",
    "prompt": "please describe this image in details",
    "annotate": "true",
    "max_tokens": "200",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--model", type=Path, help="model folder")
    parser.add_argument("--samples", type=Path, default=Path("samples"), help="folder of media (samples)")


def run(arguments: argparse.Namespace) -> int:
    """Ask and print; 1 when the service does not start or an answer fails."""
    try:
        groups = samples.questions(arguments.samples)
    except ValueError as error:
        raise settings.SettingsError(f"--samples: {error}") from error
    if not groups:
        raise settings.SettingsError(f"--samples: {arguments.samples} holds no media")
    chosen = settings.load(overrides(arguments, model="worker.model"))
    good = _served(chosen.worker.model, lambda client: _asked_all(client, groups))
    if arguments.model is None and PICTURE.exists():
        print()
        good &= _served(PLACES_MODEL, shown)
    return 0 if good else 1


def _served(model: Path, ask: Callable[[httpx.Client], bool]) -> bool:
    """Start the service with the model on a free port, ask, stop; False where it does not start."""
    port = ports.choose("127.0.0.1", 0)
    with tempfile.TemporaryDirectory(prefix="pandagpt-") as state:
        given: dict[str, dict[str, object]] = {
            "gateway": {"host": "127.0.0.1", "port": port},
            "worker": {"model": model},
            "local": {"state": state},
            "log": {"level": "warning", "format": "text"},
        }
        env = os.environ | settings.environment(given)
        # The greeting is no part of the answers; warnings come on the other stream.
        house = started([sys.executable, "-m", "service.cli", "serve"], env)
        try:
            url = f"http://127.0.0.1:{port}"
            if not _is_up(url, house):
                return False
            with httpx.Client(base_url=url, timeout=None, trust_env=False) as client:
                return ask(client)
        finally:
            house.terminate()
            house.wait()


def started(command: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """The service, which ends in good order also where this process is killed."""
    with_us = dying_with(os.getpid(), signal.SIGTERM)
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, preexec_fn=with_us)


def _is_up(url: str, house: subprocess.Popen[bytes]) -> bool:
    limit = time.monotonic() + START_S
    while not supervisor.is_ready(url):
        if house.poll() is not None or time.monotonic() > limit:
            print("the service does not start; its reason stands above", file=sys.stderr)
            return False
        time.sleep(0.2)
    return True


def _asked_all(client: httpx.Client, groups: list[list[samples.Sample]]) -> bool:
    groups = taken(client, groups)
    print(f"{QUESTION}\n")
    width = max(len(_title(group)) for group in groups)
    answered = [asked(Talk(client, {"max_tokens": 48, "temperature": 0}), group, width) for group in groups]
    return all(answered)


def taken(client: httpx.Client, groups: list[list[samples.Sample]]) -> list[list[samples.Sample]]:
    """The groups whose media the first model takes."""
    takes = client.get("/v1/models").raise_for_status().json()["data"][0]["input_modalities"]
    return [group for group in groups if all(sample.modality in takes for sample in group)]


def asked(talk: Talk, group: list[samples.Sample], width: int) -> bool:
    """Ask about the media of `group` at once and print the answer beside them; False where there is none."""
    print(f"{_title(group):<{width}}   ", end="", flush=True)
    try:
        talk.pending = [part(sample) for sample in group]
        for text in talk.ask(QUESTION):
            print(" ".join(text.split("\n")), end="", flush=True)
    except TalkError as error:
        print(f"error: {error}", flush=True)
        return False
    print(flush=True)
    return True


def part(sample: samples.Sample) -> dict[str, Any]:
    """The sample as a content part. Raises TalkError."""
    if sample.modality == "text":
        try:
            return {"type": "context_text", "context_text": sample.path.read_text()}
        except (OSError, UnicodeDecodeError) as error:
            raise TalkError(f"cannot read {sample.path}: {error}") from None
    options = [f"{name}={value}" for name, value in sample.options.items()]
    return medium(sample.modality, shlex.join([str(sample.path), *options]))


def _title(group: list[samples.Sample]) -> str:
    return " + ".join(f"{sample.modality} {sample.path.name}" for sample in group)


def shown(client: httpx.Client, picture: Path = PICTURE, drawn: Path = DRAWN) -> bool:
    """Ask where everything is, print each thing's box, and write the picture with the boxes; False where it fails."""
    print(f"image {picture.name}, {_ASKED['task']}")
    try:
        answer = _answer(client, picture)
        annotated = client.get(f"/v1/requests/{answer['id']}/annotated")
        annotated.raise_for_status()
    except (httpx.HTTPError, OSError) as error:
        print(f"error: {error}")
        return False
    for one in answer["choices"][0]["message"].get("objects", ()):
        print(f"  {one['label'] or 'a thing'}: {_corners(one['box'])}")
    drawn.parent.mkdir(parents=True, exist_ok=True)
    drawn.write_bytes(annotated.content)
    print(f"drawn in {drawn}")
    return True


def _answer(client: httpx.Client, picture: Path) -> dict[str, Any]:
    sent = client.post("/v1/generate", data=_ASKED, files={"image": (picture.name, picture.read_bytes())})
    sent.raise_for_status()
    answer: dict[str, Any] = sent.json()
    return answer


def _corners(box: dict[str, float]) -> str:
    return ", ".join(f"{side} {round(value)}" for side, value in box.items())
