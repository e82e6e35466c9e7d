"""Logs: one line an event, only known fields, and nothing of a caller's."""

import io
import json
import logging

import pytest

from pandagpt_core.errors import InvalidMedia
from service import logs


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    logs.configure("debug", "json", "worker", stream)
    return stream


def test_an_event_is_one_json_line_with_its_fields(stream: io.StringIO) -> None:
    logging.getLogger("service.worker").info("request ended", extra={"request_id": "r1", "duration_s": 0.5})
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "process": "worker",
        "logger": "service.worker",
        "event": "request ended",
        "request_id": "r1",
        "duration_s": 0.5,
    }


def test_a_field_that_is_not_in_the_table_is_left_out_and_named(stream: io.StringIO) -> None:
    logging.getLogger("service").info("hello", extra={"prompt": "canary", "status": 200})
    assert "canary" not in stream.getvalue()
    assert json.loads(stream.getvalue())["refused_fields"] == ["prompt"]


def test_a_foreign_exceptions_message_is_not_written_but_its_place_is(stream: io.StringIO) -> None:
    try:
        try:
            int("canary")
        except ValueError as error:
            raise KeyError("canary") from error
    except KeyError:
        logging.getLogger("service").exception("it broke")
    line = json.loads(stream.getvalue())
    assert "canary" not in stream.getvalue()
    assert line["exception"].startswith("KeyError at tests/test_logs.py:")
    assert "; from ValueError at tests/test_logs.py:" in line["exception"]


def test_an_error_of_ours_keeps_its_message(stream: io.StringIO) -> None:
    try:
        raise InvalidMedia("the picture has 9 pixels; the limit is 8")
    except InvalidMedia:
        logging.getLogger("service").exception("refused")
    assert "the limit is 8" in json.loads(stream.getvalue())["exception"]


def test_a_library_speaks_from_warning_on_and_only_its_first_line(stream: io.StringIO) -> None:
    library = logging.getLogger("some.library")
    library.info("canary")
    library.warning("Task exception was never retrieved\nfuture: <Task exception=ValueError('canary')>")
    assert len(stream.getvalue().splitlines()) == 1
    assert json.loads(stream.getvalue())["event"] == "Task exception was never retrieved"


def test_a_long_value_is_cut(stream: io.StringIO) -> None:
    logging.getLogger("service").info("x" * 1000, extra={"reason": "y" * 1000})
    line = json.loads(stream.getvalue())
    assert (len(line["event"]), len(line["reason"])) == (logs.MAX_CHARS, logs.MAX_CHARS)


def test_text_is_for_a_terminal() -> None:
    record = logging.makeLogRecord(
        {"name": "service", "levelno": 30, "levelname": "WARNING", "msg": "slow", "count": 3}
    )
    assert logs.TextFormatter("gateway").format(record)[8:] == " gateway    WARNING: slow  count=3"
