"""The tokens that begin and end a text, read from the files beside a tokenizer rather than assumed."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.tokenizers.pointers import check_no_pointer

FILES_BY_AUTHORITY = ("special_tokens_map.json", "tokenizer_config.json")


def read_json(path: Path) -> dict[str, Any]:
    """The object a JSON file holds, empty where there is no file."""
    return parse_json(path) if path.is_file() else {}


def parse_json(path: Path) -> dict[str, Any]:
    """The object a JSON file holds. Raises CheckpointError for a file that is none."""
    check_no_pointer(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path.name} is no JSON: line {error.lineno}, column {error.colno}") from None
    except UnicodeDecodeError:
        raise CheckpointError(f"{path.name} is no JSON: it is not UTF-8 text") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path.name} holds no JSON object")
    return found


def special_piece(folder: Path, name: str) -> str | None:
    """The piece a folder names as `bos_token` or `eos_token`, or None.

    Some LLaMA and Vicuna folders hold an empty string here, which names nothing; then the model file decides.
    """
    for file in FILES_BY_AUTHORITY:
        entry = read_json(folder / file).get(name)
        piece = entry.get("content") if isinstance(entry, Mapping) else entry
        if piece:
            return str(piece)
    return None


def special_id(folder: Path, name: str, token_id: Callable[[str], int | None], fallback: int | None) -> int | None:
    piece = special_piece(folder, name)
    found = token_id(piece) if piece else None
    return fallback if found is None else found


def generation_ends(folder: Path) -> frozenset[int]:
    """The ids at which generation_config.json, or else config.json, ends an answer."""
    for file in ("generation_config.json", "config.json"):
        ends = read_json(folder / file).get("eos_token_id")
        if ends is not None:
            return frozenset(ends if isinstance(ends, list) else [ends])
    return frozenset()
