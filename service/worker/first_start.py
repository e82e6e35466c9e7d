"""`python -m service.worker.first_start`: load a worker's model once, so that the best choices on it are kept.

The worker's settings come as a line of JSON on standard input, which stays open for as long as the worker lives.
"""

import os
import sys
import threading
from typing import TextIO

from service.settings import WorkerSettings
from service.worker.main import load_runtime


def main(given: TextIO) -> int:
    settings = WorkerSettings.model_validate_json(given.readline())
    threading.Thread(target=_end_with, args=(given,), daemon=True).start()
    load_runtime(settings, apart=False)
    return 0


def _end_with(parent: TextIO) -> None:
    """The pipe ends when the worker does; then nobody wants the choice."""
    parent.read()
    os._exit(1)


if __name__ == "__main__":
    status = main(sys.stdin)
    os._exit(status)  # the reading thread holds standard input: an ordinary end would wait for it
