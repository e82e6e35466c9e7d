"""Calls of functions, read out of an answer while it grows.

The text between the tags of a call (`pandagpt_core.tools`) is a JSON object with `name` and `arguments`. A call begins
for the caller as soon as its name is known, and its arguments follow piece by piece, as the model writes them. A tagged
text that is no call stays text.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pandagpt_core.tools import CALL_CLOSE, CALL_OPEN

_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.){1,256}")\s*,\s*"arguments"\s*:\s*(?=\{)')
_SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the answer's own text."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegun:
    """A call with its number within the answer, and its name."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class ArgumentsDelta:
    """More of a call's arguments, JSON text."""

    index: int
    text: str


ToolDelta = TextDelta | CallBegun | ArgumentsDelta


class JsonEnd:
    """Finds the end of a JSON object or list: counts brackets outside of strings; `ended` once the first is closed."""

    def __init__(self) -> None:
        self.ended = False
        self._depth = 0
        self._in_string = self._escaped = False

    def feed(self, text: str) -> int:
        """Number of characters of `text` that belong to the value."""
        for at, character in enumerate(text):
            if self.ended:
                return at
            self._take(character)
        return len(text)

    def _take(self, character: str) -> None:
        if self._in_string:
            self._in_string = self._escaped or character != '"'
            self._escaped = character == "\\" and not self._escaped
        elif character == '"':
            self._in_string = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1
            self.ended = self._depth == 0


class ToolCallReader:
    """Pure: the same pieces give the same deltas. `calls` is how many began."""

    def __init__(self) -> None:
        self.calls = 0
        self._pending = ""  # text that may yet turn out to be part of a tag or a call's head
        self._inside = False  # between the tags
        self._arguments: JsonEnd | None = None  # of the call that is being read
        self._space = ""  # white space before a tag or the end, which is not sent unless text follows

    def feed(self, text: str) -> list[ToolDelta]:
        self._pending += text
        deltas = list(self._read())
        return _merged(deltas)

    def finish(self) -> list[ToolDelta]:
        """The rest at the answer's end: of a call that was cut off before its name, its text."""
        left, self._pending = self._pending, ""
        if self._arguments is not None or not left:
            return []
        if self._inside:
            return self._whole_call(left) or [TextDelta(CALL_OPEN + left)]
        return list(self._text_deltas(left)) if left.strip() else []

    def _read(self) -> Iterator[ToolDelta]:
        while self._pending:
            before = (len(self._pending), self._inside, self._arguments is None)
            if self._arguments is not None:
                yield from self._read_arguments(self._arguments)
            elif self._inside:
                yield from self._read_head()
            else:
                yield from self._read_text()
            if before == (len(self._pending), self._inside, self._arguments is None):
                return

    def _read_text(self) -> Iterator[ToolDelta]:
        before, tag, after = self._pending.partition(CALL_OPEN)
        if tag:
            self._pending, self._inside = after, True
        else:
            held = _begun(before, CALL_OPEN)
            before, self._pending = before[: len(before) - held], before[len(before) - held :]
        yield from self._text_deltas(before)
        if tag:
            self._space = ""

    def _text_deltas(self, text: str) -> Iterator[ToolDelta]:
        """The text but for white space at its end, which comes with the text that follows; none does after a call."""
        bare = text.rstrip(_SPACE)
        if not bare:
            self._space += text
            return
        lead = "" if self.calls else self._space
        yield TextDelta((lead + bare) if not self.calls else bare)
        self._space = text[len(bare) :]

    def _read_head(self) -> Iterator[ToolDelta]:
        head = _HEAD.match(self._pending)
        if head is not None and (name := _string(head[1])) is not None:
            self._pending = self._pending[head.end() :]
            self._arguments = JsonEnd()
            yield self._begin(name)
            return
        inside, tag, after = self._pending.partition(CALL_CLOSE)
        if tag:
            self._pending, self._inside = after, False
            yield from self._whole_call(inside) or [TextDelta(CALL_OPEN + inside + CALL_CLOSE)]

    def _read_arguments(self, arguments: JsonEnd) -> Iterator[ToolDelta]:
        taken = arguments.feed(self._pending)
        if taken:
            yield ArgumentsDelta(self.calls - 1, self._pending[:taken])
            self._pending = self._pending[taken:]
        if arguments.ended:
            _, tag, after = self._pending.partition(CALL_CLOSE)
            if tag:
                self._pending, self._inside, self._arguments = after, False, None

    def _whole_call(self, text: str) -> list[ToolDelta]:
        """A call whose keys come in another order, or none."""
        try:
            found: Any = json.loads(text)
        except (ValueError, RecursionError):
            return []
        if not isinstance(found, dict) or not isinstance(found.get("name"), str):
            return []
        arguments = found.get("arguments", found.get("parameters", {}))
        written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        return [self._begin(found["name"]), ArgumentsDelta(self.calls - 1, written)]

    def _begin(self, name: str) -> CallBegun:
        self.calls += 1
        return CallBegun(self.calls - 1, name)


def _begun(text: str, tag: str) -> int:
    """Number of characters at the end of `text` that may be the beginning of `tag`."""
    return next((n for n in range(min(len(text), len(tag) - 1), 0, -1) if tag.startswith(text[-n:])), 0)


def _string(literal: str) -> str | None:
    try:
        return str(json.loads(literal))
    except ValueError:
        return None


def _merged(deltas: list[ToolDelta]) -> list[ToolDelta]:
    """Neighbouring pieces of one text as one."""
    merged: list[ToolDelta] = []
    for delta in deltas:
        last = merged[-1] if merged else None
        if isinstance(delta, TextDelta) and isinstance(last, TextDelta):
            merged[-1] = TextDelta(last.text + delta.text)
        elif isinstance(delta, ArgumentsDelta) and isinstance(last, ArgumentsDelta) and last.index == delta.index:
            merged[-1] = ArgumentsDelta(delta.index, last.text + delta.text)
        else:
            merged.append(delta)
    return merged
