"""What a module of the table of commands offers."""

import argparse
from typing import Protocol


class Command(Protocol):
    """A module with these two functions is a command."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; the exit status."""
        ...
