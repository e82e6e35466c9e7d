"""Structured logs on standard error: one event a line, as JSON for machines or as text for a terminal.

Prompts and media must never reach a log, so the allowed parts are named here: the message, which the code writes
itself, and the extra fields of `FIELDS`, cut to `MAX_CHARS`. Any other extra is left out and only its name is shown.
Exceptions are written as their types and source lines; their messages, which may quote a caller, only where the class
is one of ours and promises to hold nothing of a caller's (`pandagpt_core.errors`).

    log.info("request ended", extra={"request_id": id, "status": 200, "duration_s": 0.2})
"""

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import TextIO

from pandagpt_core.errors import PandaGPTError

FIELDS = frozenset(
    {
        "attempt", "batch", "bytes", "cached", "capacity", "code", "completion_tokens", "count", "deliveries", "device",
        "duration_s", "endpoint", "error", "exit_code", "first_token_s", "host", "limit", "method", "modality", "model",
        "names", "outcome", "param", "pid", "port", "position", "precision", "priority", "process", "prompt_tokens",
        "queue", "reason", "remaining", "request_id", "retry_s", "runner", "server", "signal", "state", "status",
        "system", "tenant", "trace_id", "value", "version", "worker",
    }
)  # fmt: skip
MAX_CHARS = 300
OURS = ("service", "pandagpt_core", "pandagpt", "__main__")

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}


def configure(level: str = "info", style: str = "json", process: str = "", stream: TextIO | None = None) -> None:
    """Send all logging of this process to `stream` (standard error). Call once, at the process's entry.

    `process` names the process in every line: gateway, worker, supervisor. Libraries speak from warning on.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_STYLES[style](process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, _level(level)))
    for name in OURS:
        logging.getLogger(name).setLevel(_level(level))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, process, logger, event, then the fields."""

    def __init__(self, process: str = "") -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        head = {"time": time, "level": record.levelname.lower(), "process": self._process, "logger": record.name}
        return json.dumps({**head, "event": _event(record), **_fields(record)}, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """The same for a person: `12:00:01 worker  model loaded  duration_s=1.2`."""

    def __init__(self, process: str = "") -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        level = "" if record.levelno <= logging.INFO else f"{record.levelname}: "
        fields = "".join(f"  {name}={value}" for name, value in _fields(record).items())
        return f"{time} {self._process:<10} {level}{_event(record)}{fields}"


_STYLES = {"json": JsonFormatter, "text": TextFormatter}


def _level(name: str) -> int:
    return logging.getLevelNamesMapping()[name.upper()]


def _event(record: logging.LogRecord) -> str:
    # Libraries put objects' texts behind their first line (asyncio: `future: <Task … exception=…>`).
    return record.getMessage().partition("\n")[0][:MAX_CHARS]


def _fields(record: logging.LogRecord) -> dict[str, object]:
    extra = {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
    fields = {name: _scalar(value) for name, value in extra.items() if name in FIELDS}
    refused = sorted(set(extra) - FIELDS)
    if refused:
        fields["refused_fields"] = refused
    if record.exc_info and record.exc_info[1] is not None:
        fields["exception"] = _exception(record.exc_info[1])
    return fields


def _scalar(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float) else str(value)[:MAX_CHARS]


def _exception(error: BaseException) -> str:
    """The chain of types, innermost cause last, each with its last frames; messages only where they are safe."""
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(parts) < 5:
        frames = traceback.extract_tb(seen.__traceback__)[-6:]
        where = " < ".join(f"{_file(frame.filename)}:{frame.lineno}" for frame in reversed(frames))
        message = f"({seen.message})" if isinstance(seen, PandaGPTError) else ""
        parts.append(f"{type(seen).__name__}{message} at {where or 'unknown'}")
        seen = seen.__cause__ or seen.__context__
    return "; from ".join(parts)


def _file(path: str) -> str:
    return "/".join(path.split("/")[-2:])
