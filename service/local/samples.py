"""The media of a folder of samples, each with its modality by suffix, or by a name that states what its pixels are.

A folder may list in `asks.json` the questions: a list of questions, each a list of media with "modality", "file"
and, where the modality takes any, "options".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pandagpt_core.modalities import MODALITIES

KINDS = {suffix: name for name, entry in tuple(MODALITIES.items())[::-1] for suffix in entry.mime}
# A picture or an array with this word in its name or its folder's is that.
NAMED = {name: entry.named for name, entry in MODALITIES.items() if entry.named}
ASKS = "asks.json"


@dataclass(frozen=True, slots=True)
class Sample:
    """One medium of a question. `options` are those of its content part."""

    modality: str
    path: Path
    options: Mapping[str, str | float] = field(default_factory=dict)


def found(folder: Path) -> list[tuple[str, Path]]:
    """All of them as (modality, path), by path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    return [(kind, path) for path in files if (kind := modality(path))]


def questions(folder: Path) -> list[list[Sample]]:
    """The folder's questions; without `asks.json` each medium alone, and a picture with a sound.

    Raises ValueError when `asks.json` is not such a list.
    """
    if (folder / ASKS).is_file():
        return _listed(folder)
    media = [Sample(kind, path) for kind, path in found(folder)]
    first = {sample.modality: sample for sample in reversed(media)}
    both = [first["image"], first["audio"]] if {"image", "audio"} <= set(first) else []
    return [*([sample] for sample in media), *([both] if both else [])]


def _listed(folder: Path) -> list[list[Sample]]:
    try:
        return [
            [Sample(medium["modality"], folder / medium["file"], medium.get("options", {})) for medium in group]
            for group in json.loads((folder / ASKS).read_text())
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{folder / ASKS} is no list of questions: {error!r}") from error


def modality(path: Path) -> str | None:
    """Modality of a file, None for something else (a text, a table of licences)."""
    suffix, words = path.suffix.lower(), f"{path.stem} {path.parent.name}".lower()
    named = next((name for name, suffixes in NAMED.items() if name in words and suffix in suffixes), None)
    return named or KINDS.get(suffix)
