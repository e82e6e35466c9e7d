"""Shell completion of the `pandagpt` command, by argcomplete: `eval "$(register-python-argcomplete pandagpt)"`."""

import argparse
import importlib
import os
from collections.abc import Mapping
from typing import cast

from service.command import Command


def complete(commands: Mapping[str, tuple[str, str]]) -> None:
    """Complete for a shell that wants it and end the process; else return. Only the command typed is imported."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    import argcomplete  # only the shell's question needs it

    typed = os.environ.get("COMP_LINE", "").split()
    parser = argparse.ArgumentParser(prog="pandagpt")
    parser.add_argument("--version", action="store_true")
    kinds = parser.add_subparsers()
    for name, (module, what) in commands.items():
        own = kinds.add_parser(name, help=what)
        if len(typed) > 1 and typed[1] == name:
            cast(Command, importlib.import_module(module)).configure(own)
    argcomplete.autocomplete(parser)
