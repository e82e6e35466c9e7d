"""Contents of an examination: a JSON or TOML file that names concepts, media with their truth, and plain questions.

concepts    what an answer may name: name, category, other names, and the text that stands for it in the shared space
items       set, truth (a concept's name) and media: modality, file below the manifest's folder, parameters;
            an item of several media is asked about whole, and each of its media alone
unions      names for several sets of one medium, which are reported together beside each
text_only   questions without media, whose answers should stay those of the untouched language model; plain, or with
            the word that a right answer holds
nothing     questions about a medium that is not given, with the words by which an answer admits it
left_out    what could not be put into the set, with the reason; the report repeats it
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.types import Modality

MANIFEST = "manifest.json"
MOST_LISTED = 20
_Name = Annotated[str, Meta(min_length=1)]


class ConceptEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`text` is what the text tower reads for it; empty: the name."""

    name: _Name
    category: str = ""
    aliases: tuple[_Name, ...] = ()
    text: str = ""


class MediumEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    modality: Modality
    file: _Name
    params: dict[str, float | str] = {}


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    set: _Name
    truth: _Name
    media: Annotated[tuple[MediumEntry, ...], Meta(min_length=1)]


class TextEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    question: _Name
    right: _Name


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`folder` is where the files lie; it is not part of the file."""

    name: _Name
    question: _Name = "What is this?"
    max_tokens: Annotated[int, Meta(ge=1)] = 24
    text_tokens: Annotated[int, Meta(ge=1)] = 40
    concepts: Annotated[tuple[ConceptEntry, ...], Meta(min_length=1)]
    items: tuple[Item, ...] = ()
    unions: dict[_Name, tuple[_Name, ...]] = {}
    text_only: tuple[_Name | TextEntry, ...] = ()
    nothing: tuple[TextEntry, ...] = ()
    left_out: tuple[_Name, ...] = ()
    folder: str = "."

    def data(self, medium: MediumEntry) -> bytes:
        """Raises InvalidRequest for a file that cannot be read."""
        try:
            return (Path(self.folder) / medium.file).read_bytes()
        except OSError as error:
            raise InvalidRequest(f"{medium.file}: {error.strerror}") from None


def read_manifest(path: Path) -> Manifest:
    """Raises InvalidRequest that names what is wrong: a field, a truth without a concept, a missing file."""
    try:
        data = path.read_bytes()
        raw = tomllib.loads(data.decode()) if path.suffix == ".toml" else msgspec.json.decode(data)
        manifest = msgspec.convert({**raw, "folder": str(path.resolve().parent)}, Manifest)
    except OSError as error:
        raise InvalidRequest(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.DecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError) as error:
        raise InvalidRequest(f"{path.name}: {error}") from None
    _check(path.name, manifest)
    return manifest


def write_manifest(
    folder: Path,
    name: str,
    concepts: Sequence[ConceptEntry],
    items: Iterable[tuple[str, str, Sequence[tuple[Modality, bytes, str, Mapping[str, float | str]]]]],
    text_only: Sequence[str | TextEntry] = (),
    **more: Any,
) -> Manifest:
    """Write the media and the manifest of a set that is made in memory.

    items: (set, truth, media), each medium (modality, bytes as a caller would send them, file suffix, parameters).
    more: other fields of the manifest.
    """
    entries = []
    for index, (of, truth, media) in enumerate(items):
        files = []
        for number, (modality, data, suffix, params) in enumerate(media):
            file = f"media/{index:05}-{number}-{modality}{suffix}"
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(data)
            files.append(MediumEntry(modality, file, dict(params)))
        entries.append(Item(of, truth, tuple(files)))
    folder.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(
        name=name,
        concepts=tuple(concepts),
        items=tuple(entries),
        text_only=tuple(text_only),
        folder=str(folder),
        **more,
    )
    raw = {field: value for field, value in msgspec.to_builtins(manifest).items() if field != "folder"}
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(raw), indent=1) + b"\n")
    return read_manifest(folder / MANIFEST)


def _check(name: str, manifest: Manifest) -> None:
    known = [concept.name for concept in manifest.concepts]
    problems = [f"concept {one} is there {known.count(one)} times" for one in set(known) if known.count(one) > 1]
    for index, item in enumerate(manifest.items):
        if item.truth not in known:
            problems.append(f"items[{index}]: its truth {item.truth!r} is none of the {len(known)} concepts")
        for medium in item.media:
            pure = PurePosixPath(medium.file)
            if pure.is_absolute() or ".." in pure.parts:
                problems.append(f"items[{index}]: {medium.file} is not below the manifest's folder")
            elif not (Path(manifest.folder) / medium.file).is_file():
                problems.append(f"items[{index}]: there is no file {medium.file}")
    for union, sets in manifest.unions.items():
        missing = set(sets) - {item.set for item in manifest.items}
        problems += [f"unions[{union!r}]: no item is of the set {one!r}" for one in sorted(missing)]
    if problems:
        rest = [f"  ... and {len(problems) - MOST_LISTED} more"] if len(problems) > MOST_LISTED else []
        raise InvalidRequest("\n".join([f"{name}:", *(f"  {one}" for one in problems[:MOST_LISTED]), *rest]))
