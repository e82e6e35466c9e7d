# PYTHON_ARGCOMPLETE_OK
"""The `pandagpt` command: a table of commands, each loaded only when it is called, so that help is instant."""

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Protocol, cast

from pandagpt_core.errors import CheckpointError, InvalidRequest, PandaGPTError


class Command(Protocol):
    """A module of `service/commands` with these two functions is a command."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; the exit status."""
        ...


# Name -> (module, a `Command`; its work in words).
COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("service.commands.operate.serve", "gateway, worker and store on this machine"),
    "gateway": ("service.commands.operate.gateway", "one gateway: the HTTP side"),
    "worker": ("service.commands.operate.worker", "one worker: the model side"),
    "convert": ("service.commands.models.convert", "make a model folder from the originals' files"),
    "fetch": ("service.commands.models.fetch", "download a published system's files and make its model folder"),
    "cache": (
        "service.commands.models.cache",
        "a cache of image features for a model folder, from pictures",
    ),
    "ngrams": ("service.commands.models.ngrams", "a table that drafts a model's answers, from its own"),
    "train": ("service.commands.models.train", "projection and LoRA of a model folder, on conversations about media"),
    "dataset": ("service.commands.models.dataset", "a public data set as conversations to train on"),
    "align": ("service.commands.models.align", "one tower of a model folder, on pairs of media and pictures"),
    "eval": ("service.commands.models.eval", "how often a model names what it is shown, in process or over HTTP"),
    "demo": ("service.commands.client.demo", "start everything, ask about the samples, stop"),
    "queue": ("service.commands.operate.queue", "what waits, runs or was given up; retry it or drop it"),
    "chat": ("service.commands.client.chat", "talk to a running service from the terminal"),
    "embed": ("service.commands.client.embed", "words and files to vectors, or to how alike they are"),
    "inspect": ("service.commands.client.inspect", "how a media file will be read, without a model"),
    "doctor": ("service.commands.operate.doctor", "check this machine and the settings; say what to do"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status.

    2 is a mistake in the call, the settings or the files they name, 1 another failure, 130 an interruption, 141 a
    reader of the output that left, as `head` does.
    """
    _complete()
    try:
        status = _dispatch(argv)
        sys.stdout.flush()  # here and not at the exit, where nothing could catch it
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the exit flushes once more
        return 141
    return status


def _dispatch(argv: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if words[0] in ("-V", "--version"):
        print(f"pandagpt {version('pandagpt')}")
        return 0
    if words[0] not in COMMANDS:
        return _fail(_unknown(words[0]), 2)
    return _run(words[0], words[1:])


def _run(name: str, words: Sequence[str]) -> int:
    module, what = COMMANDS[name]
    command = cast(Command, importlib.import_module(module))
    parser = argparse.ArgumentParser(prog=f"pandagpt {name}", description=f"{what[0].upper()}{what[1:]}.")
    command.configure(parser)
    arguments = parser.parse_args(words)
    # Here and not above: it brings in pydantic, which `pandagpt --help` need not wait for.
    from service.settings import SettingsError

    try:
        return command.run(arguments)
    except SettingsError as error:
        return _fail(str(error), 2)
    except (CheckpointError, InvalidRequest) as error:
        return _fail(error.message, 2)
    except PandaGPTError as error:
        return _fail(error.message, 1)
    except KeyboardInterrupt:
        return 130


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    head = "usage: pandagpt COMMAND [ARGUMENTS]    (pandagpt COMMAND --help for its arguments)"
    return "\n".join([head, "", *lines])


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean `pandagpt {near[0]}`?" if near else "`pandagpt --help` lists them"
    return f"no command {name!r}: {hint}"


def _fail(message: str, status: int) -> int:
    print("\n".join(f"pandagpt: {line}" for line in message.splitlines()), file=sys.stderr)
    return status


def _complete() -> None:
    """Complete for a shell by argcomplete and end the process; return where no shell wants it.

    A shell is set up by `eval "$(register-python-argcomplete pandagpt)"`. Only the command typed is imported.
    """
    if "_ARGCOMPLETE" not in os.environ:
        return
    import argcomplete  # only the shell's question needs it

    typed = os.environ.get("COMP_LINE", "").split()
    parser = argparse.ArgumentParser(prog="pandagpt")
    parser.add_argument("--version", action="store_true")
    kinds = parser.add_subparsers()
    for name, (module, what) in COMMANDS.items():
        own = kinds.add_parser(name, help=what)
        if len(typed) > 1 and typed[1] == name:
            cast(Command, importlib.import_module(module)).configure(own)
    argcomplete.autocomplete(parser)


if __name__ == "__main__":
    sys.exit(main())
