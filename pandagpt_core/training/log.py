"""Progress as JSON lines: one event a line, to a file and to the standard error stream."""

import json
import sys
import time
from pathlib import Path
from typing import Any


class Log:
    """Call it with an event's name and its fields. Times are seconds since the log was opened."""

    def __init__(self, path: Path | None = None) -> None:
        self._began = time.monotonic()
        self._path = path

    def __call__(self, event: str, **fields: Any) -> None:
        line = json.dumps({"at": round(time.monotonic() - self._began, 1), "event": event, **fields}) + "\n"
        sys.stderr.write(line)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
