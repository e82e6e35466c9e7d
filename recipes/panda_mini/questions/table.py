"""`questions.toml`, parsed: each question with its media, its kind and what may be answered."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

Kind = Literal[
    "known", "unknown", "yes", "no", "colour", "count", "where", "describe", "both", "follow", "json", "fact",
    "nothing", "de", "es", "fr",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
QUESTIONS = Path(__file__).with_name("questions.toml")
_MEDIA = {"picture": ("file",), "pair": ("first", "second"), "sound": ("file",), "text": ()}
_PARTS = {"both": "&", "json": ";"}  # separators of the things that an answer must all name


@dataclass(frozen=True, slots=True)
class TableQuestion:
    """media: references to files (`files.Files`). turns: the user's texts, one after the other's answer.

    accepted: groups of which each must be met by one of its words; "yes", "no" and "nothing" need none.
    """

    media: tuple[str, ...]
    kind: Kind
    turns: tuple[str, ...]
    accepted: tuple[tuple[str, ...], ...]


def load_questions(path: Path = QUESTIONS) -> tuple[TableQuestion, ...]:
    """Raises ValueError that names a line which is none."""
    with path.open("rb") as file:
        return tuple(_questions(tomllib.load(file)))


def _questions(table: dict[str, list[dict[str, Any]]]) -> Iterator[TableQuestion]:
    for section, entries in table.items():
        for entry in entries:
            media = tuple(entry[name] for name in _MEDIA[section])
            for line in entry["ask"]:
                yield parse(line, media)


def parse(line: str, media: tuple[str, ...] = ()) -> TableQuestion:
    """ "KIND: QUESTION // QUESTION = WORD | WORD". Raises ValueError."""
    kind, _, rest = line.partition(": ")
    said, _, right = rest.partition(" = ")
    if kind not in KINDS or not said or (not right and kind not in ("yes", "no")):
        raise ValueError(f"not a question: {line!r}")
    parts = right.split(_PARTS[kind]) if kind in _PARTS else [right]
    words = right.split() if kind == "describe" else None
    groups = (tuple(words),) if words else tuple(tuple(w.strip() for w in part.split("|")) for part in parts if part)
    return TableQuestion(media, kind, tuple(turn.strip() for turn in said.split("//")), groups)
