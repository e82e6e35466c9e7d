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
        self._file = path.open("a") if path is not None else None

    def __call__(self, event: str, **fields: Any) -> None:
        line = json.dumps({"at": round(time.monotonic() - self._began, 1), "event": event, **fields}) + "\n"
        sys.stderr.write(line)
        if self._file is not None:
            self._file.write(line)
            self._file.flush()
