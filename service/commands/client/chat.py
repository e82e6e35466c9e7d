"""`pandagpt chat`: talk to a running service from the terminal, with media; one question, or a conversation."""

import argparse
import contextlib
import importlib
import sys
from collections.abc import Mapping
from typing import Any

import httpx

from service import settings
from service.commands.client.talk import OPTIONS, PARTS, Talk, TalkError, medium
from service.commands.overrides import overrides
from service.local import address

_HELP = "\n".join(
    [
        *(f"  /{modality} PATH{''.join(f' [{name}=…]' for name in OPTIONS.get(modality, ()))}" for modality in PARTS),
        "  /text WORDS    words through the text encoder, beside the media",
        "  /drop          attach nothing to the next message after all",
        "  /clear         forget the conversation",
        "  /quit          leave (or Ctrl-D)",
        "media go with the next message; weight=0.5 after the path weighs it",
    ]
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("prompt", nargs="*", help="one question; without it, a conversation")
    parser.add_argument("--url", help="address of the service")
    parser.add_argument("--model", help="model to ask")
    parser.add_argument("--system", help="system message")
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--top-p", type=float)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--explain", action="store_true", help="after each answer: what each medium contributed to it")
    for modality in PARTS:
        parser.add_argument(
            f"--{modality}", action="append", default=[], metavar="PATH", help=f"{modality} file for the first message"
        )


def run(arguments: argparse.Namespace) -> int:
    """Ask once, or until the person leaves."""
    loaded = settings.load(overrides(arguments, url="client.url"))
    client, where = loaded.client, address.of_service(loaded)
    headers = {"authorization": f"Bearer {client.key.get_secret_value()}"} if client.key else {}
    names = ("model", "max_tokens", "temperature", "top_p", "seed")
    parameters = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if arguments.explain:
        parameters["explain"] = True
    # A first token may take as long as the queue is; only connecting has a limit.
    timeout = httpx.Timeout(None, connect=5.0)
    with httpx.Client(base_url=where, headers=headers, timeout=timeout, trust_env=False) as connection:
        talk = Talk(connection, parameters, arguments.system)
        try:
            talk.pending = [medium(modality, words) for modality in PARTS for words in getattr(arguments, modality)]
        except TalkError as error:
            return _print_error(error)
        return _once(talk, " ".join(arguments.prompt)) if arguments.prompt else _converse(talk)


def _once(talk: Talk, prompt: str) -> int:
    try:
        with contextlib.closing(talk.ask(prompt)) as answer:  # closing cancels what still runs
            for text in answer:
                print(text, end="", flush=True)
        print()
    except TalkError as error:
        return _print_error(error)
    for line in explained(talk.fields):
        print(line)
    return 0


def explained(fields: Mapping[str, Any]) -> list[str]:
    """A line a medium: how much likelier the answer is with it, in nats (natural logarithm), the largest first."""
    media = fields.get("contributions", {}).get("media", [])
    ordered = sorted(media, key=lambda one: -abs(one["gain"]))
    return [f"  {one['modality']} of message {one['turn'] + 1}: {one['gain']:+.2f} nats" for one in ordered]


def _converse(talk: Talk) -> int:
    person = sys.stdin.isatty()
    if person:
        with contextlib.suppress(ImportError):  # line editing and history, where the platform has them
            importlib.import_module("readline")
        print("/help lists the commands.")
    while True:
        try:
            line = input("> " if person else "").strip()
        except EOFError:
            return 0
        except KeyboardInterrupt:
            print()
            continue
        if line in ("/quit", "/exit"):
            return 0
        if line.startswith("/"):
            _command(talk, line)
        elif line:
            with contextlib.suppress(KeyboardInterrupt):  # cuts this answer off; the service cancels it
                _once(talk, line)


def _command(talk: Talk, line: str) -> None:
    name, _, rest = line[1:].partition(" ")
    try:
        if name in PARTS:
            talk.pending.append(medium(name, rest.strip()))
            print(f"{len(talk.pending)} attached to the next message")
        elif name == "text" and rest.strip():
            talk.pending.append({"type": "context_text", "context_text": rest.strip()})
            print(f"{len(talk.pending)} attached to the next message")
        elif name == "drop":
            talk.pending = []
            print("nothing attached")
        elif name == "clear":
            talk.clear()
            print("forgotten")
        else:
            print(_HELP)
    except TalkError as error:
        _print_error(error)


def _print_error(error: TalkError) -> int:
    print(f"error: {error}", file=sys.stderr, flush=True)
    return error.status
