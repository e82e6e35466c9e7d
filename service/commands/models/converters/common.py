"""Common parts of the converters: refusing absent arguments, reading JSON of sizes, and progress on one line."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from pandagpt_core.encoders.sizes import ImageBindSizes
from service.settings import SettingsError


def required(arguments: argparse.Namespace, *names: str) -> None:
    """Raises SettingsError for those that are not given."""
    absent = [f"--{name.replace('_', '-')}" for name in names if getattr(arguments, name) is None]
    if absent:
        raise SettingsError(f"--system {arguments.system} needs {' and '.join(absent)}")


def read_sizes(option: str, path: Path) -> Any:
    """Raises SettingsError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{option}: cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"{option}: {path}: {error}") from None


def imagebind_sizes(arguments: argparse.Namespace) -> ImageBindSizes | None:
    """Sizes of --imagebind-sizes, None where it is not given. Raises SettingsError."""
    path = arguments.imagebind_sizes
    if path is None:
        return None
    try:
        return ImageBindSizes.from_config(read_sizes("--imagebind-sizes", path))
    except ValueError as error:
        raise SettingsError(f"--imagebind-sizes: {path}: {error}") from None


class Progress:
    """Bytes written, on one line of the terminal; silent where standard error is none."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, done: int, total: int) -> None:
        if sys.stderr.isatty() and (time.monotonic() >= self._next or done == total):
            self._next = time.monotonic() + 0.2
            print(f"\r{done / 1e9:.2f} of {total / 1e9:.2f} GB", end="", file=sys.stderr, flush=True)
